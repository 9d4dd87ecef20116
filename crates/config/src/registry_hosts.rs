//! `[registry.hosts."HOST"]`: how single registries are spoken to.

use std::path::PathBuf;

use toml::de::{DeTable, DeValue};

use crate::error::shown;

/// What an error says of the whole.
const EXPECTED: &str = "tables such as [registry.hosts.\"registry.example:5000\"]";
const KEYS: &str = "http, mirrors and certificateAuthority";

/// What a file says of one registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistryHost {
    /// `host` or `host:port`, as in names of images.
    pub name: String,
    /// Whether it is spoken to without TLS; if absent, as for any other registry.
    pub http: Option<bool>,
    /// `http://HOST[:PORT]` or `https://HOST[:PORT]`, asked before the registry when something is pulled.
    pub mirrors: Vec<String>,
    /// File with certificates, in PEM, that are trusted for this registry beside the system's.
    pub certificate_authority: Option<PathBuf>,
}

/// Checks the value of `registry.hosts`; the error says what is expected.
pub(crate) fn check(value: &DeValue<'_>) -> Result<Vec<RegistryHost>, String> {
    let table = value.as_table().ok_or(EXPECTED)?;
    table
        .iter()
        .map(|(name, entry)| {
            let name = name.get_ref();
            if !is_host(name) {
                return Err(format!("{EXPECTED}; '{}' is no HOST or HOST:PORT", shown(name)));
            }
            let entry = entry.get_ref().as_table().ok_or(EXPECTED)?;
            host(name, entry)
        })
        .collect()
}

fn host(name: &str, table: &DeTable<'_>) -> Result<RegistryHost, String> {
    let mut host = RegistryHost { name: name.to_owned(), ..RegistryHost::default() };
    for (key, value) in table {
        let (key, value) = (&**key.get_ref(), value.get_ref());
        let wrong = |expected| format!("{EXPECTED}, where {} is {expected}", shown(key));
        match key {
            "http" => host.http = Some(value.as_bool().ok_or_else(|| wrong("true or false"))?),
            "mirrors" => {
                let expected = "a list of \"http://HOST[:PORT]\" or \"https://HOST[:PORT]\"";
                host.mirrors = origins(value).ok_or_else(|| wrong(expected))?;
            }
            "certificateAuthority" => {
                let path = value.as_str().map(PathBuf::from).filter(|path| path.is_absolute());
                host.certificate_authority = Some(path.ok_or_else(|| wrong("an absolute path in quotes"))?);
            }
            other => return Err(format!("{EXPECTED} with {KEYS}; '{}' is none of them", shown(other))),
        }
    }
    Ok(host)
}

fn origins(value: &DeValue<'_>) -> Option<Vec<String>> {
    value
        .as_array()?
        .iter()
        .map(|origin| origin.get_ref().as_str().filter(|text| is_origin(text)).map(str::to_owned))
        .collect()
}

/// A path would be another way to name repositories.
fn is_origin(text: &str) -> bool {
    text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).is_some_and(is_host)
}

pub(crate) fn is_host(text: &str) -> bool {
    let is_part_of_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte);
    !text.is_empty() && text.len() <= 255 && text.bytes().all(is_part_of_host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<RegistryHost>, String> {
        let root = DeTable::parse(text).unwrap();
        check(root.get_ref()["hosts"].get_ref())
    }

    #[test]
    fn hosts_are_read() {
        let hosts = parse(
            "[hosts.'r.example:5000']\nhttp = true\nmirrors = ['https://m.example', 'http://[::1]:80']\n\
             [hosts.'s.example']\ncertificateAuthority = '/etc/ca.pem'\n",
        );
        let expected = [
            RegistryHost {
                name: "r.example:5000".to_owned(),
                http: Some(true),
                mirrors: vec!["https://m.example".to_owned(), "http://[::1]:80".to_owned()],
                certificate_authority: None,
            },
            RegistryHost {
                name: "s.example".to_owned(),
                certificate_authority: Some("/etc/ca.pem".into()),
                ..RegistryHost::default()
            },
        ];
        assert_eq!(hosts.unwrap(), expected);
    }

    #[test]
    fn mistakes_are_told() {
        for (text, told) in [
            ("hosts = 1", "tables such as"),
            ("[hosts]\nx = 1", "tables such as"),
            ("[hosts.'a/../b']", "'a/../b' is no HOST or HOST:PORT"),
            ("[hosts.x]\nmirors = []", "'mirors' is none of them"),
            ("[hosts.x]\nmirrors = 'https://m'", "mirrors is a list"),
            ("[hosts.x]\nmirrors = ['https://m/path']", "mirrors is a list"),
            ("[hosts.x]\nmirrors = ['ftp://m']", "mirrors is a list"),
            ("[hosts.x]\nhttp = 'yes'", "http is true or false"),
            ("[hosts.x]\ncertificateAuthority = 'ca.pem'", "certificateAuthority is an absolute path"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}

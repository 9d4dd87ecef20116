//! `hosts.toml` of a single registry: how it is spoken to, and its mirrors, as containerd has it beside the registry's
//! certificates.
//!
//! ```toml
//! server = "http://registry.example:5000"
//!
//! [host."https://mirror.example"]
//! capabilities = ["pull", "resolve"]
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use reqwest::Url;
use toml::Value;

use crate::transport::display_host;
use crate::{RegistryError, Scheme};

const MAX_FILE_BYTES: u64 = 1 << 20;

/// Where a registry's content can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host and optional port.
    pub host: String,
    /// How it is spoken to.
    pub scheme: Scheme,
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    /// An origin; a path would be another way to name repositories.
    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let wrong = || EndpointError { text: text.escape_default().to_string() };
        let url = Url::parse(text).map_err(|_| wrong())?;
        let scheme = match url.scheme() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(wrong()),
        };
        let is_origin = matches!(url.path(), "" | "/" | "/v2" | "/v2/")
            && url.query().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        if !is_origin || url.host_str().is_none() {
            return Err(wrong());
        }
        Ok(Self { host: display_host(&url), scheme })
    }
}

/// A text that is no [`Endpoint`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not http://HOST[:PORT] or https://HOST[:PORT]")]
pub struct EndpointError {
    text: String,
}

/// What is configured for one registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    /// The protocol of the registry itself, if the file says.
    pub scheme: Option<Scheme>,
    /// Asked before the registry itself, in this order, when something is pulled.
    pub mirrors: Vec<Endpoint>,
    /// Files with certificates, in PEM, to trust for this registry beside the system's and those of the folders.
    pub certificate_authorities: Vec<PathBuf>,
}

impl Hosts {
    /// Reads the first file that there is.
    pub(crate) fn find(folders: &[PathBuf], registry: &str) -> Result<Self, RegistryError> {
        for folder in folders {
            // A reference's registry holds no slash, so this stays below the folder.
            let path = folder.join(registry).join("hosts.toml");
            match fs::metadata(&path) {
                Ok(metadata) if metadata.len() > MAX_FILE_BYTES => {
                    return Err(invalid(&path, "it is too large"));
                }
                Ok(_) => {
                    let text = fs::read_to_string(&path).map_err(|error| failed(&path, error))?;
                    return Self::parse(&text, registry).map_err(|reason| invalid(&path, &reason));
                }
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                Err(error) => return Err(failed(&path, error)),
            }
        }
        Ok(Self::default())
    }

    fn parse(text: &str, registry: &str) -> Result<Self, String> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.message().to_owned())?;
        let mut hosts = Self::default();
        for (key, value) in &table {
            match (key.as_str(), value) {
                ("server", Value::String(server)) => {
                    let server = parse_endpoint(server)?;
                    if server.host != registry {
                        return Err(format!(
                            "'server' is not {registry}; name other hosts as [host.\"URL\"]"
                        ));
                    }
                    hosts.scheme = Some(server.scheme);
                }
                ("host", Value::Table(entries)) => {
                    for (url, entry) in entries {
                        let mirror = parse_endpoint(url)?;
                        if is_for_pulls(url, entry)? {
                            hosts.mirrors.push(mirror);
                        }
                    }
                }
                _ => return Err(format!("'{}' has no meaning here", key.escape_default())),
            }
        }
        Ok(hosts)
    }
}

fn parse_endpoint(text: &str) -> Result<Endpoint, String> {
    text.parse().map_err(|error: EndpointError| error.to_string())
}

fn is_for_pulls(url: &str, entry: &Value) -> Result<bool, String> {
    let url = url.escape_default();
    let Value::Table(entry) = entry else { return Err(format!("'{url}' is not a table")) };
    let mut is_for_pulls = true;
    for (key, value) in entry {
        match (key.as_str(), value) {
            // Tags of a mirror that cannot resolve may be out of date.
            ("capabilities", Value::Array(words)) => {
                let has = |word: &str| words.iter().any(|found| found.as_str() == Some(word));
                is_for_pulls = has("pull") && has("resolve");
            }
            _ => {
                let key = key.escape_default();
                return Err(format!(
                    "'{key}' of '{url}' has no meaning here; certificates lie beside the file"
                ));
            }
        }
    }
    Ok(is_for_pulls)
}

fn failed(path: &Path, source: io::Error) -> RegistryError {
    RegistryError::Configuration { path: path.to_owned(), source }
}

fn invalid(path: &Path, reason: &str) -> RegistryError {
    failed(path, io::Error::new(io::ErrorKind::InvalidData, reason.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_and_protocols_are_read() {
        let parse = |text: &str| Hosts::parse(text, "r.example:5000");
        let hosts = parse(
            "server = 'http://r.example:5000'\n[host.'https://b.example']\ncapabilities = ['pull', 'resolve']\n\
             [host.'http://a.example:80/v2/']\n[host.'https://c.example']\ncapabilities = ['push']\n",
        );
        let endpoint = |host: &str, scheme| Endpoint { host: host.to_owned(), scheme };
        let hosts = hosts.unwrap();
        assert_eq!(hosts.scheme, Some(Scheme::Http));
        // In the order of the file.
        let expected = [endpoint("b.example", Scheme::Https), endpoint("a.example", Scheme::Http)];
        assert_eq!(hosts.mirrors, expected);
        assert_eq!(parse("").unwrap(), Hosts::default());
        for wrong in [
            "server = 'http://other.example'",
            "sever = 'x'",
            "[host.'ftp://x']",
            "[host.'https://x/path']",
            "[host.'https://u:p@x']",
            "[host.'https://x']\nskip_verify = true",
            "host = 1",
            "nonsense",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}

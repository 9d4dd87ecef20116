//! Files of Docker's form: `~/.docker/config.json`, `auth.json`, `.dockercfg`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::server::split;
use crate::{CredentialsError, Login};

const MAX_FILE_BYTES: u64 = 1 << 20;

/// What of such a file concerns credentials.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct ConfigFile {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: String,
}

#[derive(Deserialize)]
struct Auth {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default, rename = "identitytoken")]
    identity_token: String,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Auth(…)")
    }
}

/// Reads a file; `None` if there is none.
pub(crate) fn read_bytes(path: &Path) -> Result<Option<Vec<u8>>, CredentialsError> {
    let failed = |source| CredentialsError::File { operation: "read", path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let reason = format!("it is larger than {MAX_FILE_BYTES} bytes");
        return Err(CredentialsError::Format { path: path.to_owned(), reason });
    }
    Ok(Some(bytes))
}

/// What JSON's reader found wrong, without what it found.
pub(crate) fn format_error(path: &Path, error: &serde_json::Error) -> CredentialsError {
    let reason = format!("line {}, column {}: {:?} error", error.line(), error.column(), error.classify());
    CredentialsError::Format { path: path.to_owned(), reason }
}

impl ConfigFile {
    /// Reads a file; `None` if there is none.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, CredentialsError> {
        let Some(bytes) = read_bytes(path)? else { return Ok(None) };
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Some(Self::default()));
        }
        // The old file is the map alone.
        let parsed = if path.ends_with(".dockercfg") {
            serde_json::from_slice(&bytes).map(|auths| Self { auths, ..Self::default() })
        } else {
            serde_json::from_slice(&bytes)
        };
        parsed.map(Some).map_err(|error| format_error(path, &error))
    }

    /// The helper for a registry, without `docker-credential-`.
    pub(crate) fn helper(&self, server: &str) -> Option<&str> {
        let own = self.helpers.iter().find(|(key, _)| split(key) == (server.to_owned(), String::new()));
        own.map(|(_, helper)| helper)
            .or(Some(&self.store))
            .map(String::as_str)
            .filter(|name| !name.is_empty())
    }

    /// The login for a repository, by the longest key that is a path above it.
    pub(crate) fn login(
        &self,
        path: &Path,
        server: &str,
        repository: &str,
    ) -> Result<Option<Login>, CredentialsError> {
        let matching = self.auths.iter().filter_map(|(key, auth)| {
            let (host, prefix) = split(key);
            let above = prefix.is_empty()
                || repository
                    .strip_prefix(&prefix)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            (host == server && above && !auth.is_empty()).then_some((prefix.len(), key, auth))
        });
        let Some((_, key, auth)) = matching.max_by_key(|(length, ..)| *length) else { return Ok(None) };
        auth.login().map_err(|reason| CredentialsError::Format {
            path: path.to_owned(),
            reason: format!("the entry of '{}' {reason}", key.escape_default()),
        })
    }
}

impl Auth {
    /// Docker leaves such an entry for what a helper keeps.
    fn is_empty(&self) -> bool {
        self.auth.is_empty() && self.username.is_empty() && self.identity_token.is_empty()
    }

    /// `None` if the entry has a user name but no secret.
    fn login(&self) -> Result<Option<Login>, &'static str> {
        // It goes before the password beside it, which is commonly empty.
        if !self.identity_token.is_empty() {
            return Ok(Some(Login::identity_token(&*self.identity_token)));
        }
        let (username, secret) = match self.auth.is_empty() {
            true => (self.username.clone(), self.password.clone()),
            false => self.decode()?,
        };
        Ok((!secret.is_empty()).then(|| Login::new(username, secret)))
    }

    fn decode(&self) -> Result<(String, String), &'static str> {
        let bytes = STANDARD.decode(self.auth.trim()).map_err(|_| "is not in base 64")?;
        let text = String::from_utf8(bytes).map_err(|_| "is not in UTF-8")?;
        let (username, secret) = text.split_once(':').ok_or("has no colon between user name and password")?;
        Ok((username.to_owned(), secret.trim_matches('\0').to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ConfigFile {
        serde_json::from_str(text).unwrap()
    }

    fn user(file: &ConfigFile, server: &str, repository: &str) -> Option<String> {
        file.login(Path::new("x"), server, repository).unwrap().map(|login| login.username)
    }

    #[test]
    fn the_most_specific_key_of_the_same_host_decides() {
        // "a:1", "b:2", …
        let file = parse(
            r#"{"auths":{"r.example":{"auth":"YTox"},"r.example/team":{"auth":"Yjoy"},
                "r.example/team/one":{"auth":"Yzoz"},"https://index.docker.io/v1/":{"auth":"ZDo0"},
                "localhost:5000":{"username":"e","password":"5"},"empty.example":{}}}"#,
        );
        for (server, repository, expected) in [
            ("r.example", "x", Some("a")),
            ("r.example", "team", Some("b")),
            ("r.example", "team/two", Some("b")),
            ("r.example", "team/one", Some("c")),
            ("r.example", "teamwork", Some("a")),
            ("docker.io", "library/alpine", Some("d")),
            ("localhost:5000", "x", Some("e")),
            ("localhost", "x", None),
            ("localhost:50", "x", None),
            ("evil-r.example", "x", None),
            ("r.example.evil", "x", None),
            ("empty.example", "x", None),
        ] {
            assert_eq!(user(&file, server, repository).as_deref(), expected, "{server}/{repository}");
        }
    }

    #[test]
    fn identity_tokens_go_before_passwords_and_nothing_is_no_login() {
        // "u:" and "u:p"
        let file = parse(
            r#"{"auths":{"a":{"auth":"dTo=","identitytoken":"t"},"b":{"auth":"dTpw","identitytoken":"t"},
                "c":{"auth":"dTo="},"d":{"username":"u"},"e":{"auth":"dTo=","identitytoken":""},
                "f":{"identitytoken":"t"}}}"#,
        );
        for (server, expected) in
            [("a", true), ("b", true), ("c", false), ("d", false), ("e", false), ("f", true)]
        {
            let login = file.login(Path::new("x"), server, "x").unwrap();
            assert_eq!(login, expected.then(|| Login::identity_token("t")), "{server}");
        }
    }

    #[test]
    fn helpers_go_by_host() {
        let file = parse(r#"{"credHelpers":{"gcr.io":"gcloud","docker.io":""},"credsStore":"pass"}"#);
        assert_eq!(file.helper("gcr.io"), Some("gcloud"));
        assert_eq!(file.helper("eu.gcr.io"), Some("pass"));
        assert_eq!(parse("{}").helper("gcr.io"), None);
    }

    #[test]
    fn damaged_entries_are_named_without_their_content() {
        for auth in ["!!", "YWI=", "/////w=="] {
            let file = parse(&format!(r#"{{"auths":{{"r":{{"auth":"{auth}"}}}}}}"#));
            let error = file.login(Path::new("/c.json"), "r", "x").unwrap_err().to_string();
            assert!(error.contains("/c.json") && error.contains("'r'") && !error.contains(auth), "{error}");
        }
    }
}

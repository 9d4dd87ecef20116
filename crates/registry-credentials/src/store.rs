//! Our own file: who is logged in where.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config_file::{format_error, read_bytes};
use crate::{CredentialsError, Login};

/// A login as `registry list` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Host and port.
    pub server: String,
    /// The user's name there.
    pub username: String,
    /// As given to the first login.
    pub creation_date: String,
    /// As given to the latest login.
    pub modification_date: String,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    logins: BTreeMap<String, Record>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) username: String,
    pub(crate) creation_date: String,
    pub(crate) modification_date: String,
    /// Who keeps the secret; the file does where this is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) helper: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<String>,
}

/// The file. Nobody else writes it; calls must not overlap.
#[derive(Debug)]
pub(crate) struct OwnStore {
    path: PathBuf,
}

impl OwnStore {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn get(&self, server: &str) -> Result<Option<Record>, CredentialsError> {
        Ok(self.read()?.logins.remove(server))
    }

    pub(crate) fn entries(&self) -> Result<Vec<Entry>, CredentialsError> {
        let entry = |(server, record): (String, Record)| Entry {
            server,
            username: record.username,
            creation_date: record.creation_date,
            modification_date: record.modification_date,
        };
        Ok(self.read()?.logins.into_iter().map(entry).collect())
    }

    /// Remembers a login, with its secret unless a helper keeps that.
    pub(crate) fn put(
        &self,
        server: &str,
        login: &Login,
        helper: Option<&str>,
        date: &str,
    ) -> Result<(), CredentialsError> {
        let mut content = self.read()?;
        let known = content.logins.get(server);
        let record = Record {
            username: login.username.clone(),
            creation_date: known.map_or_else(|| date.to_owned(), |known| known.creation_date.clone()),
            modification_date: date.to_owned(),
            helper: helper.map(str::to_owned),
            secret: helper.is_none().then(|| login.secret.clone()),
        };
        content.logins.insert(server.to_owned(), record);
        self.write(&content)
    }

    pub(crate) fn remove(&self, server: &str) -> Result<Option<Record>, CredentialsError> {
        let mut content = self.read()?;
        let removed = content.logins.remove(server);
        if removed.is_some() {
            self.write(&content)?;
        }
        Ok(removed)
    }

    fn read(&self) -> Result<Content, CredentialsError> {
        match read_bytes(&self.path)? {
            None => Ok(Content::default()),
            Some(bytes) => serde_json::from_slice(&bytes).map_err(|error| format_error(&self.path, &error)),
        }
    }

    /// In place of the old file, whole or not at all, readable by its owner only from its first byte on.
    fn write(&self, content: &Content) -> Result<(), CredentialsError> {
        let temporary = self.path.with_extension("new");
        let failed = |source| CredentialsError::File { operation: "write", path: self.path.clone(), source };
        let write = || -> io::Result<()> {
            // One that a crash left may belong to another mode.
            match fs::remove_file(&temporary) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(&serde_json::to_vec_pretty(content)?)?;
            file.sync_all()?;
            fs::rename(&temporary, &self.path)?;
            self.path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
        };
        write().map_err(|error| {
            drop(fs::remove_file(&temporary));
            failed(error)
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

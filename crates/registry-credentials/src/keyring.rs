//! All places together.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::config_file::ConfigFile;
use crate::helper::Helper;
use crate::store::{Entry, OwnStore};
use crate::{CredentialsError, Login, Sources};

/// What a search came to.
#[derive(Debug, Default)]
pub struct Found {
    /// The login, if any place has one.
    pub login: Option<Login>,
    /// Places that could not be asked. Most images need no login, so this fails nothing by itself.
    pub problems: Vec<CredentialsError>,
}

/// Everything that is known of logins. Its methods block: on files, and on helpers that may ask their user.
#[derive(Debug)]
pub struct Keyring {
    own: Mutex<OwnStore>,
    sources: Sources,
}

impl Keyring {
    /// Nothing is read before it is needed.
    #[must_use]
    pub fn new(own_file: PathBuf, sources: Sources) -> Self {
        Self { own: Mutex::new(OwnStore::new(own_file)), sources }
    }

    /// Looks for the login of a repository of a registry (host and optional port, as image references have it).
    pub fn find(&self, server: &str, repository: &str) -> Found {
        let mut found = Found::default();
        match self.find_own(server) {
            Ok(None) => {}
            Ok(login) => return Found { login, ..found },
            Err(error) => found.problems.push(error),
        }
        for path in &self.sources.files {
            let outcome = ConfigFile::read(path).and_then(|file| {
                let Some(file) = file else { return Ok(None) };
                if let Some(helper) = file.helper(server) {
                    match Helper::new(helper).and_then(|helper| helper.get(server)) {
                        Ok(None) => {}
                        Ok(login) => return Ok(login),
                        // An entry in the file may still do.
                        Err(error) => found.problems.push(error),
                    }
                }
                file.login(path, server, repository)
            });
            match outcome {
                Ok(None) => {}
                Ok(login) => return Found { login, ..found },
                Err(error) => found.problems.push(error),
            }
        }
        found
    }

    /// Keeps a login: with the credential helper of Docker's configuration where it names one, else in our own file.
    ///
    /// # Errors
    /// When that fails; the file is as it was then.
    pub fn store(&self, server: &str, login: &Login, date: &str) -> Result<(), CredentialsError> {
        let configuration = match &self.sources.docker {
            Some(path) => ConfigFile::read(path)?.unwrap_or_default(),
            None => ConfigFile::default(),
        };
        let helper = configuration.helper(server);
        if let Some(name) = helper {
            Helper::new(name)?.store(server, login)?;
        }
        self.own().put(server, login, helper, date)
    }

    /// Forgets a login; false if there is none of ours.
    ///
    /// # Errors
    /// When the file or the helper fails.
    pub fn remove(&self, server: &str) -> Result<bool, CredentialsError> {
        let own = self.own();
        let Some(record) = own.get(server)? else { return Ok(false) };
        if let Some(name) = &record.helper {
            Helper::new(name)?.erase(server)?;
        }
        own.remove(server)?;
        Ok(true)
    }

    /// Who is logged in, by server.
    ///
    /// # Errors
    /// When our file cannot be read.
    pub fn entries(&self) -> Result<Vec<Entry>, CredentialsError> {
        self.own().entries()
    }

    fn find_own(&self, server: &str) -> Result<Option<Login>, CredentialsError> {
        let record = self.own().get(server)?;
        match record {
            None => Ok(None),
            Some(record) => match (record.secret, record.helper) {
                (Some(secret), _) => Ok(Some(Login::new(record.username, secret))),
                (None, Some(helper)) => Helper::new(&helper)?.get(server),
                (None, None) => Err(CredentialsError::Format {
                    path: self.own().path().to_owned(),
                    reason: "an entry has no secret".to_owned(),
                }),
            },
        }
    }

    fn own(&self) -> std::sync::MutexGuard<'_, OwnStore> {
        // The file is replaced as a whole, so it is sound even after a panic.
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Certificates of single registries, where Docker and Podman look for them (containers-certs.d(5)).
//!
//! `<folder>/<host[:port]>/*.crt` are authorities, `*.cert` with a `*.key` of the same name is what this client shows.
//! They count for that registry alone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use reqwest::{Certificate, ClientBuilder, Identity};

use crate::RegistryError;

const MAX_FILE_BYTES: u64 = 1 << 20;

/// The files for one registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostCertificates {
    /// With what tells whether they have changed.
    files: Vec<File>,
    /// Authorities that are named one by one, whatever their files are called.
    authorities: Vec<File>,
}

/// Path, time of change and length.
type File = (PathBuf, Option<SystemTime>, u64);

impl HostCertificates {
    /// Looks into all folders and at `authorities`; the files themselves are read by [`Self::apply`].
    pub(crate) fn find(
        folders: &[PathBuf],
        host: &str,
        authorities: &[PathBuf],
    ) -> Result<Self, RegistryError> {
        let mut files = Vec::new();
        // A URL's host holds no slash, so this stays below the folder.
        for folder in folders.iter().map(|folder| folder.join(host)) {
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
                {
                    continue;
                }
                Err(error) => return Err(failed(&folder, error)),
            };
            for entry in entries {
                let path = entry.map_err(|error| failed(&folder, error))?.path();
                if has_extension(&path, &["crt", "cert", "key"]) {
                    files.push(file(path)?);
                }
            }
        }
        files.sort();
        let authorities = authorities.iter().cloned().map(file).collect::<Result<_, _>>()?;
        Ok(Self { files, authorities })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.authorities.is_empty()
    }

    /// Makes a client trust and show them.
    pub(crate) fn apply(&self, mut builder: ClientBuilder) -> Result<ClientBuilder, RegistryError> {
        let found = self.files.iter().filter(|(path, ..)| has_extension(path, &["crt"]));
        for (path, ..) in found.chain(&self.authorities) {
            let certificates = Certificate::from_pem_bundle(&read(path)?).map_err(|_| invalid(path))?;
            if certificates.is_empty() {
                return Err(invalid(path));
            }
            for certificate in certificates {
                builder = builder.add_root_certificate(certificate);
            }
        }
        if let Some((path, ..)) = self.files.iter().find(|(path, ..)| has_extension(path, &["cert"])) {
            let mut pem = read(&path.with_extension("key"))?;
            pem.push(b'\n');
            pem.extend(read(path)?);
            builder = builder.identity(Identity::from_pem(&pem).map_err(|_| invalid(path))?);
        }
        Ok(builder)
    }
}

fn file(path: PathBuf) -> Result<File, RegistryError> {
    let metadata = fs::metadata(&path).map_err(|error| failed(&path, error))?;
    Ok((path, metadata.modified().ok(), metadata.len()))
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension().and_then(|text| text.to_str()).is_some_and(|text| extensions.contains(&text))
}

fn read(path: &Path) -> Result<Vec<u8>, RegistryError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() <= MAX_FILE_BYTES => {
            fs::read(path).map_err(|error| failed(path, error))
        }
        Ok(_) => Err(invalid(path)),
        Err(error) => Err(failed(path, error)),
    }
}

fn failed(path: &Path, source: io::Error) -> RegistryError {
    RegistryError::Certificate { path: path.to_owned(), source }
}

fn invalid(path: &Path) -> RegistryError {
    failed(path, io::Error::new(io::ErrorKind::InvalidData, "it is no certificate or key in PEM"))
}

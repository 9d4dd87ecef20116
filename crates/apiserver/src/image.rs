//! Images by name, over the content of the image store.

pub(crate) mod changes;
mod client_file;
mod collect;
pub(crate) mod compose;
mod convert;
pub(crate) mod delete;
mod history;
mod id;
mod import;
mod list;
mod load;
mod login;
mod progress;
pub(crate) mod prune;
mod pull;
mod push;
mod save;
mod usage;
mod verify;

pub(crate) use collect::later as collect_later;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Context;
use bulkhead_api::container::{ContainerConfiguration, Descriptor, ImageDescription};
use bulkhead_api::error::{ApiError, ErrorCode};
use bulkhead_config::RegistryHost;
use bulkhead_image_store::{Lease, ResolvedImage, Store, StoreError, StoreOptions};
use bulkhead_oci::{Digest, Platform, Reference};
use bulkhead_paths::Directories;
use bulkhead_registry::{Hosts, RegistryError, Scheme};
use bulkhead_registry_credentials::{Keyring, Sources};
use bulkhead_state::{Change, ImageRecord};

use crate::date;
use crate::error::{FULL_DISK_HINT, failed, invalid, not_found};
use crate::records::Records;
use crate::settings::Settings;

/// All images.
#[derive(Debug)]
pub(crate) struct Images {
    store: Store,
    names: RwLock<BTreeMap<String, ImageRecord>>,
    records: Arc<Records>,
    default_registry: String,
    local_domain: Option<String>,
    collector: Arc<collect::Collector>,
    keyring: Arc<Keyring>,
}

/// An image that a container can be made of.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) reference: String,
    pub(crate) descriptor: Descriptor,
    pub(crate) image: Arc<ResolvedImage>,
    /// Keeps its content until the container does.
    _lease: Lease,
}

impl Images {
    pub(crate) fn open(
        directories: &Directories,
        settings: &Settings,
        records: Arc<Records>,
        names: Vec<ImageRecord>,
    ) -> anyhow::Result<Self> {
        let options = StoreOptions {
            certificate_folders: certificate_folders(),
            hosts: registry_hosts(&settings.registry_hosts)?,
            ..StoreOptions::default()
        };
        let store =
            Store::open_with(&directories.images(), options).context("cannot open the image store")?;
        Ok(Self {
            store,
            names: RwLock::new(names.into_iter().map(|record| (record.reference.clone(), record)).collect()),
            records,
            default_registry: settings.registry_domain.clone(),
            local_domain: settings.local_domain.clone(),
            collector: Arc::default(),
            keyring: Arc::new(Keyring::new(directories.registry_logins(), Sources::from_environment())),
        })
    }

    /// A reference as the user wrote it.
    pub(crate) fn parse(&self, text: &str) -> Result<Reference, ApiError> {
        Reference::parse_with_default_registry(text, &self.default_registry).map_err(|error| {
            let shown: String = text.chars().take(200).flat_map(char::escape_default).collect();
            ApiError::caused_by(
                ErrorCode::InvalidArgument,
                format!("'{shown}' is not an image reference"),
                &error,
            )
        })
    }

    /// The image if it is here, for the wanted platform.
    pub(crate) fn find(&self, text: &str, platform: Option<&str>) -> Result<Option<Found>, ApiError> {
        let platform = parse_platform(platform)?;
        let Some(record) = self.by_name_or_id(text)? else { return Ok(None) };
        let digest = digest_of(&record.descriptor)?;
        let lease = self.store.lease(std::slice::from_ref(&digest));
        match self.store.image(&digest, &platform) {
            Ok(image) => Ok(Some(Found {
                reference: record.reference.clone(),
                descriptor: record.descriptor,
                image,
                _lease: lease,
            })),
            // Pulled for another platform, or partly lost: pulling it mends both.
            Err(
                StoreError::NoMatchingPlatform { .. }
                | StoreError::MissingBlob { .. }
                | StoreError::DamagedLayer { .. },
            ) => Ok(None),
            Err(error) => Err(from_store(&record.reference, &error)),
        }
    }

    /// The image that a container was created from, whatever its name means today.
    pub(crate) fn of_container(
        &self,
        configuration: &ContainerConfiguration,
    ) -> Result<Arc<ResolvedImage>, ApiError> {
        self.resolve(&configuration.image, &platform_of(configuration))
    }

    /// An image that this host itself uses.
    pub(crate) fn resolved(&self, image: &ImageDescription) -> Result<Arc<ResolvedImage>, ApiError> {
        self.resolve(image, &Platform::host())
    }

    fn resolve(&self, image: &ImageDescription, platform: &Platform) -> Result<Arc<ResolvedImage>, ApiError> {
        let digest = digest_of(&image.descriptor)?;
        self.store.image(&digest, platform).map_err(|error| from_store(&image.reference, &error))
    }

    /// A regular file of an image. Blocks.
    pub(crate) fn file_content(
        &self,
        reference: &str,
        image: &ResolvedImage,
        path: &str,
        maximum_bytes: u64,
    ) -> Result<Option<Vec<u8>>, ApiError> {
        self.store
            .file_content(image, path.as_bytes(), maximum_bytes)
            .map_err(|error| from_store(reference, &error))
    }

    /// Why an image that is here by name cannot be used: it lacks this platform, or is damaged.
    pub(crate) fn defect(&self, text: &str, platform: Option<&str>) -> Option<ApiError> {
        let record = self.by_name_or_id(text).ok()??;
        let digest = digest_of(&record.descriptor).ok()?;
        match self.store.image(&digest, &parse_platform(platform).ok()?) {
            Err(error) => Some(from_store(&record.reference, &error)),
            Ok(_) => None,
        }
    }

    /// The entry of a name; a digest also finds an image that has it under a tag.
    fn record(&self, reference: &Reference) -> Option<ImageRecord> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(record) = names.get(&reference.to_string()) {
            return Some(record.clone());
        }
        let wanted = reference.digest()?.to_string();
        let name = reference.name();
        let same = |record: &&ImageRecord| {
            record.descriptor.digest == wanted
                && record.reference.strip_prefix(&name).is_some_and(|rest| rest.starts_with([':', '@']))
        };
        names.values().find(same).cloned()
    }

    /// The entry of a name, else of an id.
    fn by_name_or_id(&self, text: &str) -> Result<Option<ImageRecord>, ApiError> {
        let reference = self.parse(text);
        let named = reference.as_ref().ok().and_then(|reference| self.record(reference));
        match (named, id::digits(text)) {
            (Some(record), _) => Ok(Some(record)),
            (None, Some(digits)) => match self.by_id(digits)? {
                // Never asked for anywhere: a name that looks like this one is an id of something that is gone.
                None if id::is_certain(text) => Err(not_found(format!("image '{text}' not found"))),
                record => Ok(record),
            },
            (None, None) => reference.map(|_| None),
        }
    }

    /// Whether it is an id and not a name: nothing that any registry is asked for.
    pub(crate) fn is_id(&self, text: &str) -> bool {
        let is_named = || self.parse(text).is_ok_and(|reference| self.record(&reference).is_some());
        id::digits(text).is_some_and(|digits| {
            id::is_certain(text) || (!is_named() && !matches!(self.by_id(digits), Ok(None)))
        })
    }

    /// The first entry of the image whose id begins with these digits.
    fn by_id(&self, digits: &str) -> Result<Option<ImageRecord>, ApiError> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = names.values().filter(|record| id::begins_with(&record.descriptor.digest, digits));
        let Some(first) = found.next() else { return Ok(None) };
        match found.find(|other| other.descriptor.digest != first.descriptor.digest) {
            None => Ok(Some(first.clone())),
            Some(_) => Err(invalid(format!("several images have ids that begin with '{digits}'"))),
        }
    }

    fn existing(&self, text: &str) -> Result<ImageRecord, ApiError> {
        self.by_name_or_id(text)?.ok_or_else(|| match self.parse(text) {
            Ok(reference) => not_found(format!("image '{reference}' not found")),
            Err(error) => error,
        })
    }

    fn all(&self) -> Vec<ImageRecord> {
        self.names.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Gives content a name, durably.
    async fn name(&self, reference: String, descriptor: Descriptor) -> Result<(), ApiError> {
        let committed = {
            let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
            let creation_date = match names.get(&reference) {
                Some(known) if known.descriptor.digest == descriptor.digest => known.creation_date.clone(),
                _ => date::now(),
            };
            let record = ImageRecord { reference: reference.clone(), descriptor, creation_date };
            names.insert(reference, record.clone());
            // Submitted under the lock: memory and database see renames in the same order.
            self.records.submit(Change::PutImage(Box::new(record)))
        };
        committed.wait().await
    }

    /// Gives an image a further name; returns the full one.
    pub(crate) async fn tag(&self, source: &str, target: &str) -> Result<String, ApiError> {
        let record = self.existing(source)?;
        let target = self.parse(target)?;
        if target.digest().is_some() {
            return Err(invalid(format!("'{target}' is not a name that can be given: it contains a digest")));
        }
        self.name(target.to_string(), record.descriptor).await?;
        Ok(target.to_string())
    }
}

/// Where Docker and Podman look for certificates of registries.
fn certificate_folders() -> Vec<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let configuration =
        absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")));
    let own = configuration
        .into_iter()
        .flat_map(|folder| ["containers/certs.d", "docker/certs.d"].map(|name| folder.join(name)));
    own.chain(["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from)).collect()
}

fn registry_hosts(configured: &[RegistryHost]) -> anyhow::Result<BTreeMap<String, Hosts>> {
    let hosts = configured.iter().map(|host| {
        let mirrors = host.mirrors.iter().map(|mirror| mirror.parse()).collect::<Result<_, _>>();
        let hosts = Hosts {
            scheme: host.http.map(|http| if http { Scheme::Http } else { Scheme::Https }),
            mirrors: mirrors.with_context(|| format!("registry.hosts.\"{}\"", host.name))?,
            certificate_authorities: host.certificate_authority.iter().cloned().collect(),
        };
        Ok((host.name.clone(), hosts))
    });
    hosts.collect()
}

fn platform_of(container: &ContainerConfiguration) -> Platform {
    Platform {
        os: container.platform.os.clone(),
        architecture: container.platform.architecture.clone(),
        variant: container.platform.variant.clone(),
        os_version: None,
    }
}

fn parse_platform(text: Option<&str>) -> Result<Platform, ApiError> {
    match text {
        None => Ok(Platform::host()),
        Some(text) => text.parse().map_err(|error| {
            ApiError::caused_by(ErrorCode::InvalidArgument, "the platform cannot be understood", &error)
        }),
    }
}

fn parse_scheme(text: Option<&str>) -> Result<Scheme, ApiError> {
    text.map_or(Ok(Scheme::Auto), |text| {
        text.parse().map_err(|error| {
            ApiError::caused_by(ErrorCode::InvalidArgument, "the scheme cannot be understood", &error)
        })
    })
}

fn digest_of(descriptor: &Descriptor) -> Result<Digest, ApiError> {
    descriptor.digest.parse().map_err(|error| failed("an image record is damaged", &error))
}

/// What the store could not do with an image.
fn from_store(reference: &str, error: &StoreError) -> ApiError {
    let caused_by = |code, message| ApiError::caused_by(code, message, error);
    match error {
        StoreError::Registry { source, .. } => from_registry(reference, source),
        StoreError::Push { source, .. } => from_push(reference, source),
        StoreError::Incomplete { .. } => {
            caused_by(ErrorCode::InvalidArgument, format!("image '{reference}' cannot be pushed"))
                .with_hint("Name one of its platforms with --platform.")
        }
        // Docker's words.
        StoreError::NoMatchingPlatform { wanted, available } => ApiError::new(
            ErrorCode::NotFound,
            format!(
                "image '{reference}' was found but does not provide the specified platform ({wanted}), only: \
                 {available}"
            ),
        )
        .with_hint("Name one of its platforms with --platform."),
        StoreError::Cancelled => {
            ApiError::new(ErrorCode::Cancelled, format!("the work on image '{reference}' was cancelled"))
        }
        StoreError::DamagedLayer { .. } => {
            caused_by(ErrorCode::InternalError, format!("image '{reference}' is damaged"))
                .with_hint(format!("This mends it: container image verify {reference}"))
        }
        StoreError::DigestMismatch { .. }
        | StoreError::SizeMismatch { .. }
        | StoreError::MissingBlob { .. } => {
            caused_by(ErrorCode::InternalError, format!("image '{reference}' is damaged"))
                .with_hint(format!("Pull it again, or load it from a file: container image pull {reference}"))
        }
        StoreError::NoSpace { .. } => {
            caused_by(ErrorCode::InternalError, format!("image '{reference}' does not fit"))
                .with_hint(FULL_DISK_HINT)
        }
        _ => failed(format!("image '{reference}' cannot be used"), error),
    }
}

fn from_push(reference: &str, error: &RegistryError) -> ApiError {
    let code = match error {
        RegistryError::NotFound { .. } => ErrorCode::NotFound,
        _ if error.is_timeout() => ErrorCode::Timeout,
        _ => ErrorCode::InternalError,
    };
    ApiError::caused_by(code, format!("image '{reference}' cannot be pushed"), error)
}

fn from_registry(reference: &str, error: &RegistryError) -> ApiError {
    let (code, message) = match error {
        RegistryError::NotFound { .. } => (ErrorCode::NotFound, format!("image '{reference}' not found")),
        // Registries say so of repositories that do not exist, too.
        RegistryError::Unauthorized { .. } => {
            (ErrorCode::NotFound, format!("image '{reference}' does not exist or needs a login"))
        }
        _ if error.is_timeout() => (ErrorCode::Timeout, format!("image '{reference}' cannot be pulled")),
        _ => (ErrorCode::InternalError, format!("image '{reference}' cannot be pulled")),
    };
    let told = ApiError::caused_by(code, message, error);
    if code == ErrorCode::NotFound {
        told.with_hint(
            "Check the name and tag; images that were built or loaded here are shown by `container image list`.",
        )
    } else if error.is_without_answer() {
        told.with_hint("Check the network, or load the image from a file: container image load -i FILE")
    } else {
        told
    }
}

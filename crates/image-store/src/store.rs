//! The store as a whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bulkhead_registry::{Hosts, Patience, Transport, TransportOptions};

use crate::StoreError;
use crate::documents::Documents;
use crate::download::Downloads;
use crate::files::Layout;
use crate::layer::Limits;
use crate::lease::LeaseTable;
use crate::resolve::ResolvedCache;

/// The store. Cheap to clone; all clones share caches, downloads under way and leases.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) layout: Layout,
    pub(crate) limits: Limits,
    pub(crate) transport: Transport,
    pub(crate) trusted_token_hosts: Vec<String>,
    pub(crate) documents: Documents,
    pub(crate) resolved: ResolvedCache,
    pub(crate) downloads: Downloads,
    pub(crate) leases: Arc<LeaseTable>,
}

/// Settings of a store.
#[derive(Clone, Debug, Default)]
pub struct StoreOptions {
    /// Bounds on what a layer may unpack to.
    pub limits: Limits,
    /// How long to wait for registries and how often to try again.
    pub patience: Patience,
    /// Hosts (`host` or `host:port`) whose token services may get credentials of registries elsewhere; see
    /// [`bulkhead_registry::ClientOptions`].
    pub trusted_token_hosts: Vec<String>,
    /// Folders with certificates of single registries, as `/etc/docker/certs.d`.
    pub certificate_folders: Vec<PathBuf>,
    /// What is known of single registries, by `host` or `host:port`; it goes before `hosts.toml` in those folders.
    pub hosts: BTreeMap<String, Hosts>,
}

impl Store {
    /// Opens the store at `root`, creating it if needed, and removes what interrupted operations left in `tmp/`.
    ///
    /// # Errors
    /// When another process or handle has it open, or its directories cannot be created or swept.
    pub fn open(root: &Path, limits: Limits) -> Result<Self, StoreError> {
        Self::open_with(root, StoreOptions { limits, ..StoreOptions::default() })
    }

    /// [`Self::open`] with all settings.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(root: &Path, options: StoreOptions) -> Result<Self, StoreError> {
        let StoreOptions { limits, patience, trusted_token_hosts, certificate_folders, hosts } = options;
        let inner = Inner {
            layout: Layout::open(root)?,
            trusted_token_hosts,
            limits,
            transport: Transport::with_options(TransportOptions { patience, certificate_folders, hosts }),
            documents: Documents::default(),
            resolved: ResolvedCache::default(),
            downloads: Downloads::default(),
            leases: Arc::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Connections to registries, to share with other clients of them, such as a login.
    #[must_use]
    pub fn transport(&self) -> &Transport {
        &self.inner.transport
    }
}

//! One registry as seen by one user.

use std::collections::HashMap;
use std::sync::Arc;

use bulkhead_oci::{DEFAULT_REGISTRY, Descriptor, Digest, MAX_DOCUMENT_BYTES, MediaType, Reference};
use reqwest::header::{ACCEPT, HeaderValue, RANGE};
use reqwest::{Response, Url};
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::blob::BlobStream;
use crate::exchange::{Access, Call};
use crate::options::ClientOptions;
use crate::token::Token;
use crate::transport::Transport;
use crate::{RegistryError, Scheme};

/// Docker Hub's API is not at the host that its images are named by.
const DOCKER_HUB_API: &str = "registry-1.docker.io";
const ACCEPTED_MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// A manifest or index as the registry sent it.
#[derive(Clone, Debug)]
pub struct FetchedManifest {
    /// Its bytes, which `digest` is of.
    pub bytes: Vec<u8>,
    /// Computed here, not taken from a header.
    pub digest: Digest,
    /// The answer's `Content-Type`.
    pub media_type: Option<MediaType>,
}

/// A client of one registry. Cheap to clone; clones share tokens.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) transport: Transport,
    /// The name that images have, for messages.
    pub(crate) registry: String,
    pub(crate) base: Url,
    pub(crate) options: ClientOptions,
    /// Tokens by what they allow.
    pub(crate) tokens: Mutex<HashMap<Access, Token>>,
}

impl Client {
    /// A client of `registry`, a host with an optional port. Connects to nothing yet.
    ///
    /// # Errors
    /// When `registry` makes no URL, or what is configured for it cannot be understood.
    pub fn new(transport: &Transport, registry: &str, options: ClientOptions) -> Result<Self, RegistryError> {
        let chosen = match options.scheme {
            Scheme::Auto => transport.hosts(registry)?.scheme.unwrap_or_default(),
            chosen => chosen,
        };
        let scheme = match chosen.is_plain_http(registry, options.local_domain.as_deref()) {
            true => "http",
            false => "https",
        };
        let host = if registry == DEFAULT_REGISTRY { DOCKER_HUB_API } else { registry };
        let base = Url::parse(&format!("{scheme}://{host}/v2/"))
            .ok()
            .filter(|url| url.path() == "/v2/" && url.username().is_empty() && url.password().is_none())
            .ok_or_else(|| RegistryError::Address { registry: registry.escape_default().to_string() })?;
        let shared = Shared {
            transport: transport.clone(),
            registry: registry.to_owned(),
            base,
            options,
            tokens: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Asks whether the registry is there and accepts the credentials.
    ///
    /// # Errors
    /// When it cannot be reached or refuses access.
    pub async fn check_access(&self) -> Result<(), RegistryError> {
        let url = self.shared.base.clone();
        self.perform(&Call::get(url, &Access::default(), "the registry")).await.map(drop)
    }

    /// Fetches what `reference`'s digest, or else its tag, leads to.
    ///
    /// # Errors
    /// When it is not found, too large, not what its digest says, or the registry fails.
    pub async fn manifest(&self, reference: &Reference) -> Result<FetchedManifest, RegistryError> {
        let name = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.unwrap_or(bulkhead_oci::DEFAULT_TAG).to_owned(),
        };
        self.fetch_manifest(reference, &name, reference.digest()).await
    }

    /// Fetches a manifest of the same repository by its digest.
    ///
    /// # Errors
    /// As [`Self::manifest`].
    pub async fn manifest_by_digest(
        &self,
        reference: &Reference,
        digest: &Digest,
    ) -> Result<FetchedManifest, RegistryError> {
        self.fetch_manifest(reference, &digest.to_string(), Some(digest)).await
    }

    /// Begins to fetch a blob of the reference's repository.
    ///
    /// # Errors
    /// When it is not found, its size is announced to be another, or the registry fails.
    pub async fn blob(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
    ) -> Result<BlobStream, RegistryError> {
        BlobStream::open(self.clone(), reference.repository().to_owned(), descriptor).await
    }

    async fn fetch_manifest(
        &self,
        reference: &Reference,
        name: &str,
        expected: Option<&Digest>,
    ) -> Result<FetchedManifest, RegistryError> {
        let repository = reference.repository();
        let url = self.url(&format!("{repository}/manifests/{name}"))?;
        let wanted = match expected {
            Some(digest) => reference.with_digest(*digest).to_string(),
            None => reference.to_string(),
        };
        let access = Access::pull(repository);
        let mut call = Call::get(url, &access, &wanted);
        call.headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED_MANIFESTS));
        let patience = self.shared.transport.patience();
        let mut attempt = 0;
        let (bytes, media_type) = loop {
            let response = self.perform(&call).await?;
            let content_type = response.headers().get(reqwest::header::CONTENT_TYPE);
            let media_type = content_type.and_then(|value| value.to_str().ok()).map(MediaType::parse);
            match self.shared.transport.read_body(response, "a manifest", MAX_DOCUMENT_BYTES).await {
                Ok(bytes) => break (bytes, media_type),
                Err(RegistryError::Unreachable { .. }) if attempt + 1 < patience.attempts => {
                    attempt += 1;
                    sleep(patience.delay(attempt, None)).await;
                }
                Err(error) => return Err(error),
            }
        };
        let actual = Digest::of(&bytes);
        match expected {
            Some(expected) if actual != *expected => Err(RegistryError::DigestMismatch {
                registry: self.shared.registry.clone(),
                expected: *expected,
                actual,
            }),
            _ => Ok(FetchedManifest { bytes, digest: actual, media_type }),
        }
    }

    /// Opens a blob at an offset, up to its end or up to another offset.
    pub(crate) async fn open_blob(
        &self,
        repository: &str,
        digest: &Digest,
        offset_bytes: u64,
        end_bytes: Option<u64>,
    ) -> Result<Response, RegistryError> {
        let url = self.url(&format!("{repository}/blobs/{digest}"))?;
        let name = format!("{}/{repository}@{digest}", self.shared.registry);
        let access = Access::pull(repository);
        let mut call = Call::get(url, &access, &name);
        let range = match end_bytes {
            Some(end_bytes) => format!("bytes={offset_bytes}-{}", end_bytes.saturating_sub(1)),
            None => format!("bytes={offset_bytes}-"),
        };
        if (offset_bytes > 0 || end_bytes.is_some())
            && let Ok(range) = range.parse()
        {
            call.headers.insert(RANGE, range);
        }
        self.perform(&call).await
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.shared.transport
    }

    pub(crate) fn registry(&self) -> &str {
        &self.shared.registry
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) fn url(&self, path: &str) -> Result<Url, RegistryError> {
        let address = || RegistryError::Address { registry: self.shared.registry.clone() };
        self.shared.base.join(path).map_err(|_| address())
    }
}

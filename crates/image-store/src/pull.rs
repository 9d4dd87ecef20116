//! Pulling: manifests first, then all layers at once, documents published last.

use std::sync::Arc;

use bulkhead_oci::{
    Descriptor, Digest, Document, ImageConfiguration, Index, MAX_DOCUMENT_BYTES, Manifest, MediaType,
    Platform, Reference,
};
use bulkhead_registry::{Client, ClientOptions, Credentials, RegistryError, Scheme};
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::documents::{check_is_image, check_layer_count, parse_configuration, parse_document, read};
use crate::download::ensure_layer;
use crate::ingest::LayerIdentity;
use crate::lease::Lease;
use crate::store::{Inner, Store};
use crate::{ProgressEvent, StoreError};

const DEFAULT_CONCURRENT_DOWNLOADS: usize = 3;
/// Indexes may contain indexes; nobody needs more than a few of them.
const MAX_INDEX_DEPTH: usize = 4;

/// How to pull.
#[derive(Clone, Debug, Default)]
pub struct PullOptions {
    /// Protocol.
    pub scheme: Scheme,
    /// DNS domain whose hosts are spoken to without TLS under [`Scheme::Auto`].
    pub local_domain: Option<String>,
    /// Layers that are downloaded at once; 0 means 3.
    pub max_concurrent_downloads: usize,
    /// Sent to the reference's registry and its token service, to no other host.
    pub credentials: Option<Credentials>,
}

/// An image that is completely in the store. Record it under its name before dropping `lease`.
#[derive(Debug)]
pub struct PulledImage {
    /// What was asked for.
    pub reference: Reference,
    /// The index or manifest that the name leads to.
    pub descriptor: Descriptor,
    /// Protects the image until its name is recorded.
    pub lease: Lease,
}

/// A document with the bytes that its digest is of.
struct Fetched<T> {
    digest: Digest,
    bytes: Vec<u8>,
    parsed: T,
}

/// One platform's image, known but for its layers.
struct Plan {
    manifest: Fetched<Manifest>,
    configuration: Fetched<ImageConfiguration>,
}

struct Puller<'a> {
    inner: &'a Arc<Inner>,
    client: Client,
    reference: &'a Reference,
    lease: Lease,
}

impl Store {
    /// Fetches `reference`: for the given platform, or for all Linux platforms of its index.
    ///
    /// Dropping the future cancels the pull, unless others wait for the same layers.
    ///
    /// # Errors
    /// When the registry, the content or the disk fails. No document is published then, and of layers only those
    /// that were complete before.
    pub async fn pull(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
        options: PullOptions,
        progress: impl Fn(ProgressEvent) + Send + Sync,
    ) -> Result<PulledImage, StoreError> {
        let PullOptions { scheme, local_domain, credentials, max_concurrent_downloads } = options;
        let concurrent_downloads = match max_concurrent_downloads {
            0 => DEFAULT_CONCURRENT_DOWNLOADS,
            count => count,
        };
        let failed = |error| registry_error(reference, error);
        let transport = &self.inner.transport;
        // Mirrors are asked without credentials, which are the registry's.
        for mirror in transport.hosts(reference.registry()).map_err(failed)?.mirrors {
            let options = ClientOptions { scheme: mirror.scheme, ..ClientOptions::default() };
            let client = Client::new(transport, &mirror.host, options).map_err(failed)?;
            let puller = Puller { inner: &self.inner, client, reference, lease: self.inner.leases.lease([]) };
            match puller.pull(platform, concurrent_downloads, &progress).await {
                Ok(pulled) => return Ok(pulled),
                Err(error @ StoreError::NoSpace { .. }) => return Err(error),
                // What it gave that is right stays; the next one may have the rest.
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::info!(%reference, mirror = mirror.host, error, "image is not taken from the mirror");
                }
            }
        }
        let trusted_token_hosts = self.inner.trusted_token_hosts.clone();
        let client_options = ClientOptions { scheme, local_domain, credentials, trusted_token_hosts };
        let client = Client::new(transport, reference.registry(), client_options).map_err(failed)?;
        let puller = Puller { inner: &self.inner, client, reference, lease: self.inner.leases.lease([]) };
        puller.pull(platform, concurrent_downloads, &progress).await
    }
}

fn registry_error(reference: &Reference, source: RegistryError) -> StoreError {
    StoreError::Registry { reference: reference.to_string(), source: Arc::new(source) }
}

impl Puller<'_> {
    async fn pull(
        self,
        platform: Option<&Platform>,
        concurrent_downloads: usize,
        progress: &(impl Fn(ProgressEvent) + Send + Sync),
    ) -> Result<PulledImage, StoreError> {
        let root = self.fetch_root().await?;
        let descriptor =
            Descriptor::new(root.parsed.media_type().clone(), root.digest, root.bytes.len() as u64);
        let mut documents = vec![(root.digest, root.bytes.clone())];
        let manifests = self.select_manifests(root, platform, &mut documents).await?;
        let mut plans = Vec::with_capacity(manifests.len());
        for manifest in manifests {
            plans.push(self.plan(manifest).await?);
        }
        check_platform(&plans, platform)?;
        self.fetch_layers(&plans, concurrent_downloads, progress).await?;
        for plan in plans {
            documents.push((plan.configuration.digest, plan.configuration.bytes));
            documents.push((plan.manifest.digest, plan.manifest.bytes));
        }
        // What contains comes after what it contains.
        documents.reverse();
        let inner = Arc::clone(self.inner);
        let published = tokio::task::spawn_blocking(move || {
            for (digest, bytes) in documents {
                inner.layout.publish_bytes(&bytes, &inner.layout.blob(&digest))?;
            }
            Ok(())
        });
        published.await.map_err(|_| StoreError::Cancelled)??;
        Ok(PulledImage { reference: self.reference.clone(), descriptor, lease: self.lease })
    }

    async fn fetch_root(&self) -> Result<Fetched<Document>, StoreError> {
        if let Some(digest) = self.reference.digest() {
            return self.fetch_document(digest, None).await;
        }
        let fetched = self.client.manifest(self.reference).await;
        let fetched = fetched.map_err(|error| registry_error(self.reference, error))?;
        self.lease.add([fetched.digest]);
        let parsed = parse_document(&fetched.digest, &fetched.bytes, fetched.media_type.as_ref())?;
        Ok(Fetched { digest: fetched.digest, bytes: fetched.bytes, parsed })
    }

    async fn fetch_document(
        &self,
        digest: &Digest,
        announced: Option<&MediaType>,
    ) -> Result<Fetched<Document>, StoreError> {
        self.lease.add([*digest]);
        // A damaged copy is replaced by a good one.
        let bytes = match read(&self.inner.layout, digest) {
            Ok(bytes) => bytes,
            Err(StoreError::MissingBlob { .. } | StoreError::DigestMismatch { .. }) => {
                let fetched = self.client.manifest_by_digest(self.reference, digest).await;
                fetched.map_err(|error| registry_error(self.reference, error))?.bytes
            }
            Err(error) => return Err(error),
        };
        let parsed = parse_document(digest, &bytes, announced)?;
        Ok(Fetched { digest: *digest, bytes, parsed })
    }

    /// The manifests below `root` that are wanted. Indexes on the way are added to `documents`.
    async fn select_manifests(
        &self,
        root: Fetched<Document>,
        platform: Option<&Platform>,
        documents: &mut Vec<(Digest, Vec<u8>)>,
    ) -> Result<Vec<Fetched<Manifest>>, StoreError> {
        let root_digest = root.digest;
        let mut manifests = Vec::new();
        let mut pending = vec![(root, 0)];
        while let Some((document, depth)) = pending.pop() {
            let index = match document.parsed {
                Document::Manifest(parsed) => {
                    manifests.push(Fetched { digest: document.digest, bytes: document.bytes, parsed });
                    continue;
                }
                Document::Index(index) => index,
            };
            if depth >= MAX_INDEX_DEPTH {
                return Err(StoreError::NestedTooDeeply { digest: root_digest });
            }
            if depth > 0 {
                documents.push((document.digest, document.bytes));
            }
            for descriptor in wanted(&index, platform)? {
                let child = self.fetch_document(&descriptor.digest, Some(&descriptor.media_type)).await?;
                check_size(descriptor, child.bytes.len())?;
                pending.push((child, depth + 1));
            }
        }
        Ok(manifests)
    }

    async fn plan(&self, manifest: Fetched<Manifest>) -> Result<Plan, StoreError> {
        check_is_image(&manifest.digest, &manifest.parsed)?;
        let descriptor = &manifest.parsed.config;
        self.lease.add([descriptor.digest]);
        let bytes = match read(&self.inner.layout, &descriptor.digest) {
            Ok(bytes) => bytes,
            Err(StoreError::MissingBlob { .. } | StoreError::DigestMismatch { .. }) => {
                self.fetch_small_blob(descriptor).await?
            }
            Err(error) => return Err(error),
        };
        check_size(descriptor, bytes.len())?;
        let parsed = parse_configuration(&descriptor.digest, &bytes)?;
        check_layer_count(&manifest.parsed, &parsed)?;
        let configuration = Fetched { digest: descriptor.digest, bytes, parsed };
        Ok(Plan { manifest, configuration })
    }

    async fn fetch_small_blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, StoreError> {
        let failed = |error| registry_error(self.reference, error);
        if descriptor.size_bytes > MAX_DOCUMENT_BYTES as u64 {
            return Err(failed(RegistryError::TooLarge {
                registry: self.reference.registry().to_owned(),
                what: "an image configuration",
                limit_bytes: MAX_DOCUMENT_BYTES,
            }));
        }
        let mut blob = self.client.blob(self.reference, descriptor).await.map_err(failed)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = blob.next_chunk().await.map_err(failed)? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    async fn fetch_layers(
        &self,
        plans: &[Plan],
        concurrent_downloads: usize,
        progress: &(impl Fn(ProgressEvent) + Send + Sync),
    ) -> Result<(), StoreError> {
        let mut jobs: Vec<(&Descriptor, LayerIdentity)> = Vec::new();
        for plan in plans {
            let diff_ids = &plan.configuration.parsed.rootfs.diff_ids;
            for (descriptor, diff_id) in plan.manifest.parsed.layers.iter().zip(diff_ids) {
                let (digest, size_bytes) = (descriptor.digest, descriptor.size_bytes);
                let layer = LayerIdentity { digest, size_bytes, diff_id: *diff_id };
                if !jobs.iter().any(|(_, known)| *known == layer) {
                    jobs.push((descriptor, layer));
                }
                self.lease.add([digest, *diff_id]);
            }
        }
        let total_bytes = jobs.iter().map(|(_, layer)| layer.size_bytes).fold(0, u64::saturating_add);
        progress(ProgressEvent::Planned { layers: jobs.len(), total_bytes });
        // Made by a loop, as rustc cannot see that futures which a stream's closure returns are `Send`.
        let mut downloads = Vec::with_capacity(jobs.len());
        for (descriptor, layer) in jobs {
            downloads.push(ensure_layer(
                self.inner,
                &self.client,
                self.reference,
                descriptor,
                layer,
                progress,
            ));
        }
        stream::iter(downloads).buffer_unordered(concurrent_downloads).try_collect().await
    }
}

/// The entries of an index that a request means.
fn wanted<'a>(index: &'a Index, platform: Option<&Platform>) -> Result<Vec<&'a Descriptor>, StoreError> {
    let Some(platform) = platform else {
        let is_linux = |descriptor: &&Descriptor| {
            descriptor
                .platform
                .as_ref()
                .is_none_or(|platform| platform.os == "linux" || platform.os.is_empty())
        };
        return Ok(index.images().filter(is_linux).collect());
    };
    if let Some(descriptor) = index.select(platform) {
        return Ok(vec![descriptor]);
    }
    // Indexes of a single image, as tools for OCI layouts write them, often say no platform; its configuration will.
    let mut unknown = index.images().filter(|descriptor| descriptor.platform.is_none());
    match (unknown.next(), unknown.next()) {
        (Some(only), None) => Ok(vec![only]),
        _ => Err(no_match(platform, index.images().filter_map(|descriptor| descriptor.platform.clone()))),
    }
}

fn check_platform(plans: &[Plan], wanted: Option<&Platform>) -> Result<(), StoreError> {
    let (Some(wanted), [plan]) = (wanted, plans) else { return Ok(()) };
    let offered = plan.configuration.parsed.platform();
    if wanted.matches(&offered) { Ok(()) } else { Err(no_match(wanted, [offered])) }
}

pub(crate) fn no_match(wanted: &Platform, offered: impl IntoIterator<Item = Platform>) -> StoreError {
    let mut names: Vec<String> = offered
        .into_iter()
        .take(32)
        .map(|platform| platform.to_string().escape_default().to_string())
        .collect();
    names.sort();
    names.dedup();
    let available = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    StoreError::NoMatchingPlatform { wanted: wanted.clone(), available }
}

fn check_size(descriptor: &Descriptor, actual_bytes: usize) -> Result<(), StoreError> {
    let actual_bytes = actual_bytes as u64;
    if descriptor.size_bytes == actual_bytes {
        return Ok(());
    }
    let expected_bytes = descriptor.size_bytes;
    Err(StoreError::SizeMismatch { digest: descriptor.digest, expected_bytes, actual_bytes })
}

//! Pushing: all blobs first, manifests then, what names them last.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::sync::Arc;

use bulkhead_oci::{Descriptor, Digest, Document, Platform, Reference};
use bulkhead_registry::{Client, ClientOptions, Credentials, Scheme};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::task::spawn_blocking;

use crate::pull::no_match;
use crate::resolve::closure;
use crate::store::Store;
use crate::{ProgressEvent, StoreError};

const CONCURRENT_UPLOADS: usize = 3;
/// As in a pull.
const MAX_INDEX_DEPTH: usize = 4;

/// How to push.
#[derive(Clone, Debug, Default)]
pub struct PushOptions {
    /// Protocol.
    pub scheme: Scheme,
    /// DNS domain whose hosts are spoken to without TLS under [`Scheme::Auto`].
    pub local_domain: Option<String>,
    /// Sent to the reference's registry and its token service, to no other host.
    pub credentials: Option<Credentials>,
    /// Other repositories of the same registry, with the digests of images that are there as far as is known: what
    /// they share with this one need not be sent.
    pub known_there: Vec<(String, Digest)>,
}

/// What the registry has now.
#[derive(Clone, Debug)]
pub struct PushedImage {
    /// The index or manifest that the name leads to.
    pub descriptor: Descriptor,
    /// The single platform that was pushed of an index whose others are not here.
    pub only: Option<Platform>,
}

/// All that is to be sent, each part once.
#[derive(Debug, Default)]
struct Plan {
    blobs: Vec<Descriptor>,
    /// Manifests and indexes, each after those that it contains; the last one gets the name.
    documents: Vec<Digest>,
}

impl Store {
    /// Sends the image of that digest to where `reference` says: one platform's manifest, or all of an index. Of an
    /// index that was pulled for one platform only, that platform's manifest is what gets the name.
    ///
    /// # Errors
    /// When content is missing or damaged, or the registry fails or refuses.
    pub async fn push(
        &self,
        reference: &Reference,
        digest: &Digest,
        platform: Option<&Platform>,
        options: PushOptions,
        progress: impl Fn(ProgressEvent) + Send + Sync,
    ) -> Result<PushedImage, StoreError> {
        let _lease = self.lease(std::slice::from_ref(digest));
        let PushOptions { scheme, local_domain, credentials, known_there } = options;
        let trusted_token_hosts = self.inner.trusted_token_hosts.clone();
        let client_options = ClientOptions { scheme, local_domain, credentials, trusted_token_hosts };
        let client = Client::new(&self.inner.transport, reference.registry(), client_options)
            .map_err(|error| failed(reference, error))?;
        // Documents of all images that this registry is known to have are read: not on a thread that serves others.
        let (store, own, digest, platform) =
            (self.clone(), reference.repository().to_owned(), *digest, platform.cloned());
        let (descriptor, only, plan, sources) = blocking(move || {
            let (root, only) = store.root_to_push(&digest, platform.as_ref())?;
            let mut plan = Plan::default();
            store.plan(&root, &mut plan, 0)?;
            Ok((store.descriptor(&root)?, only, plan, store.mount_sources(&own, &known_there)))
        })
        .await?;
        self.push_blobs(&client, reference, &plan.blobs, &sources, &progress).await?;
        for document in plan.documents {
            let store = self.clone();
            let read =
                move || Ok((store.descriptor(&document)?.media_type, store.document_bytes(&document)?));
            let (media_type, bytes) = blocking(read).await?;
            let pushed =
                client.push_manifest(reference, &media_type, bytes, document != descriptor.digest).await;
            pushed.map_err(|error| failed(reference, error))?;
        }
        Ok(PushedImage { descriptor, only })
    }

    /// The document that gets the name.
    fn root_to_push(
        &self,
        digest: &Digest,
        platform: Option<&Platform>,
    ) -> Result<(Digest, Option<Platform>), StoreError> {
        if let Some(platform) = platform {
            return Ok((self.image(digest, platform)?.manifest_digest, None));
        }
        if self.is_complete(digest, 0) {
            return Ok((*digest, None));
        }
        let mut variants = self.variants(digest)?;
        match (variants.pop(), variants.is_empty()) {
            (Some(only), true) => Ok((only.descriptor.digest, Some(only.platform))),
            (None, _) => Err(StoreError::MissingBlob { digest: *digest }),
            (Some(last), false) => {
                let platforms = variants.into_iter().chain([last]).map(|variant| variant.platform);
                match no_match(&Platform::host(), platforms) {
                    StoreError::NoMatchingPlatform { available, .. } => {
                        Err(StoreError::Incomplete { available })
                    }
                    other => Err(other),
                }
            }
        }
    }

    /// Whether all documents below that digest are here.
    fn is_complete(&self, digest: &Digest, depth: usize) -> bool {
        match self.inner.documents.document(&self.inner.layout, digest).as_deref() {
            Ok(Document::Manifest(_)) => true,
            Ok(Document::Index(index)) if depth < MAX_INDEX_DEPTH => {
                index.manifests.iter().all(|entry| self.is_complete(&entry.digest, depth + 1))
            }
            _ => false,
        }
    }

    fn plan(&self, digest: &Digest, plan: &mut Plan, depth: usize) -> Result<(), StoreError> {
        if plan.documents.contains(digest) {
            return Ok(());
        }
        let document = self.inner.documents.document(&self.inner.layout, digest)?;
        match &*document {
            Document::Index(_) if depth >= MAX_INDEX_DEPTH => {
                return Err(StoreError::NestedTooDeeply { digest: *digest });
            }
            Document::Index(index) => {
                for entry in &index.manifests {
                    self.plan(&entry.digest, plan, depth + 1)?;
                }
            }
            Document::Manifest(manifest) => {
                for blob in manifest.layers.iter().chain([&manifest.config]) {
                    if !plan.blobs.iter().any(|known| known.digest == blob.digest) {
                        plan.blobs.push(blob.clone());
                    }
                }
            }
        }
        plan.documents.push(*digest);
        Ok(())
    }

    /// Repositories of the same registry that have a blob already.
    fn mount_sources(&self, own: &str, known: &[(String, Digest)]) -> HashMap<Digest, String> {
        let mut sources = HashMap::new();
        for (repository, digest) in known.iter().filter(|(name, _)| name != own) {
            let blobs: HashSet<Digest> = closure(&self.inner, [*digest].into_iter());
            for blob in blobs {
                sources.entry(blob).or_insert_with(|| repository.clone());
            }
        }
        sources
    }

    async fn push_blobs(
        &self,
        client: &Client,
        reference: &Reference,
        blobs: &[Descriptor],
        sources: &HashMap<Digest, String>,
        progress: &(impl Fn(ProgressEvent) + Send + Sync),
    ) -> Result<(), StoreError> {
        let total_bytes = blobs.iter().map(|blob| blob.size_bytes).fold(0, u64::saturating_add);
        progress(ProgressEvent::Planned { layers: blobs.len(), total_bytes });
        // Made by a loop, as rustc cannot see that futures which a stream's closure returns are `Send`.
        let mut uploads = Vec::with_capacity(blobs.len());
        for blob in blobs {
            let source = sources.get(&blob.digest).map(String::as_str);
            uploads.push(self.push_blob(client, reference, blob, source, progress));
        }
        stream::iter(uploads).buffer_unordered(CONCURRENT_UPLOADS).try_collect().await
    }

    async fn push_blob(
        &self,
        client: &Client,
        reference: &Reference,
        blob: &Descriptor,
        source: Option<&str>,
        progress: &(impl Fn(ProgressEvent) + Send + Sync),
    ) -> Result<(), StoreError> {
        let (digest, size_bytes) = (blob.digest, blob.size_bytes);
        let path = self.inner.layout.blob(&digest);
        let file = File::open(&path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => StoreError::MissingBlob { digest },
            _ => StoreError::file("open", &path, source),
        })?;
        progress(ProgressEvent::LayerStarted { digest, size_bytes });
        let reported_bytes = std::sync::atomic::AtomicU64::new(0);
        let advanced = |sent_bytes: u64| {
            // Sent again after an interruption, it is not new.
            let before = reported_bytes.fetch_max(sent_bytes, std::sync::atomic::Ordering::Relaxed);
            if let Some(bytes) = sent_bytes.checked_sub(before).filter(|bytes| *bytes > 0) {
                progress(ProgressEvent::LayerAdvanced { digest, bytes });
            }
        };
        let pushed = client.push_blob(reference, blob, file, source, advanced).await;
        let how = pushed.map_err(|error| failed(reference, error))?;
        tracing::debug!(%digest, ?how, "blob is in the registry");
        progress(ProgressEvent::LayerFinished { digest });
        Ok(())
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    spawn_blocking(work).await.map_err(|_| StoreError::Cancelled)?
}

fn failed(reference: &Reference, source: bulkhead_registry::RegistryError) -> StoreError {
    StoreError::Push { reference: reference.to_string(), source: Arc::new(source) }
}

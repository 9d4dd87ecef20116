//! One registry as seen by one user.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_oci::{DEFAULT_REGISTRY, Descriptor, Digest, MAX_DOCUMENT_BYTES, MediaType, Reference};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, LOCATION, RANGE, RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::RegistryError;
use crate::blob::BlobStream;
use crate::challenge::{Challenge, choose};
use crate::error::presentable;
use crate::options::ClientOptions;
use crate::redirect::{check_redirect, is_same_origin};
use crate::token::{Token, request_token};
use crate::transport::{Transport, display_host};

/// Docker Hub's API is not at the host that its images are named by.
const DOCKER_HUB_API: &str = "registry-1.docker.io";
const MAX_REDIRECTS: u32 = 10;
const MAX_ERROR_BYTES: usize = 64 << 10;
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
struct Shared {
    transport: Transport,
    /// The name that images have, for messages.
    registry: String,
    base: Url,
    options: ClientOptions,
    /// Tokens by scope.
    tokens: Mutex<HashMap<String, Token>>,
}

impl Client {
    /// A client of `registry`, a host with an optional port. Connects to nothing yet.
    ///
    /// # Errors
    /// When `registry` makes no URL.
    pub fn new(transport: &Transport, registry: &str, options: ClientOptions) -> Result<Self, RegistryError> {
        let scheme = match options.scheme.is_plain_http(registry, options.local_domain.as_deref()) {
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
        let response = self.request(url, "", "the registry", |headers| headers).await?;
        drop(response);
        Ok(())
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
        let patience = self.shared.transport.patience();
        let mut attempt = 0;
        let (bytes, media_type) = loop {
            let response = self
                .request(url.clone(), repository, &wanted, |mut headers| {
                    headers.insert(ACCEPT, reqwest::header::HeaderValue::from_static(ACCEPTED_MANIFESTS));
                    headers
                })
                .await?;
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

    /// Opens a blob at an offset.
    pub(crate) async fn open_blob(
        &self,
        repository: &str,
        digest: &Digest,
        offset_bytes: u64,
    ) -> Result<Response, RegistryError> {
        let url = self.url(&format!("{repository}/blobs/{digest}"))?;
        let name = format!("{}/{repository}@{digest}", self.shared.registry);
        self.request(url, repository, &name, |mut headers| {
            if offset_bytes > 0
                && let Ok(range) = format!("bytes={offset_bytes}-").parse()
            {
                headers.insert(RANGE, range);
            }
            headers
        })
        .await
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.shared.transport
    }

    pub(crate) fn registry(&self) -> &str {
        &self.shared.registry
    }

    fn url(&self, path: &str) -> Result<Url, RegistryError> {
        let address = || RegistryError::Address { registry: self.shared.registry.clone() };
        self.shared.base.join(path).map_err(|_| address())
    }

    /// Sends a request until it succeeds, is refused, or patience ends: with a token where one is wanted, through
    /// redirections, again after transient failures.
    async fn request(
        &self,
        url: Url,
        repository: &str,
        wanted: &str,
        headers: impl Fn(HeaderMap) -> HeaderMap,
    ) -> Result<Response, RegistryError> {
        let patience = self.shared.transport.patience();
        let mut challenged = false;
        let mut attempt = 0;
        loop {
            let outcome = self.follow(&url, repository, &headers).await;
            let failure = match outcome {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response)
                    if response.status() == StatusCode::UNAUTHORIZED
                        && !challenged
                        && is_same_origin(response.url(), &url) =>
                {
                    // A second refusal with a fresh token is final.
                    challenged = true;
                    self.answer_challenge(&response, repository).await?;
                    continue;
                }
                Ok(response) => {
                    let asked = retry_after(response.headers());
                    (self.refusal(response, wanted).await, asked)
                }
                Err(error) => (error, None),
            };
            let (error, asked) = failure;
            attempt += 1;
            if attempt >= patience.attempts || !is_transient(&error) {
                return Err(error);
            }
            let delay = patience.delay(attempt, asked);
            tracing::debug!(%error, delay_ms = delay.as_millis(), "registry request is repeated");
            sleep(delay).await;
        }
    }

    /// Sends one request and follows redirections.
    async fn follow(
        &self,
        url: &Url,
        repository: &str,
        headers: &impl Fn(HeaderMap) -> HeaderMap,
    ) -> Result<Response, RegistryError> {
        let mut current = url.clone();
        // Once a redirection has left the registry, nothing that follows gets its credentials, not even when it
        // leads back.
        let mut authorization = self.authorization(repository).await;
        for _ in 0..=MAX_REDIRECTS {
            let response = self
                .shared
                .transport
                .send(&current, |request| {
                    let request = request.headers(headers(HeaderMap::new()));
                    match &authorization {
                        Some(value) => request.header(AUTHORIZATION, value),
                        None => request,
                    }
                })
                .await?;
            if !response.status().is_redirection() || response.status() == StatusCode::NOT_MODIFIED {
                return Ok(response);
            }
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let next = check_redirect(&self.shared.base, &current, location)?;
            if !is_same_origin(&next, &self.shared.base) {
                authorization = None;
            }
            current = next;
        }
        Err(RegistryError::Redirect { registry: self.shared.registry.clone(), reason: "more than 10 hops" })
    }

    async fn authorization(&self, repository: &str) -> Option<reqwest::header::HeaderValue> {
        let tokens = self.shared.tokens.lock().await;
        tokens
            .get(repository)
            .filter(|token| token.expires > Instant::now())
            .map(|token| token.header.clone())
    }

    async fn answer_challenge(&self, response: &Response, repository: &str) -> Result<(), RegistryError> {
        let headers = response.headers().get_all(WWW_AUTHENTICATE);
        let challenge = choose(headers.iter().filter_map(|value| value.to_str().ok()));
        let credentials = self.shared.options.credentials.as_ref();
        let token = match (challenge, credentials) {
            (Some(Challenge::Basic), Some(credentials)) => Token::basic(credentials),
            (Some(Challenge::Bearer { realm, service }), _) => {
                let scope = (!repository.is_empty()).then(|| format!("repository:{repository}:pull"));
                request_token(
                    &self.shared.transport,
                    &self.shared.registry,
                    &self.shared.base,
                    &self.shared.options,
                    &realm,
                    service.as_deref(),
                    scope.as_deref(),
                )
                .await?
            }
            _ => return Err(self.unauthorized(String::new())),
        };
        self.shared.tokens.lock().await.insert(repository.to_owned(), token);
        Ok(())
    }

    fn unauthorized(&self, detail: String) -> RegistryError {
        let registry = self.shared.registry.clone();
        let hint = match self.shared.options.credentials {
            Some(_) => "the image does not exist, or the credentials do not allow it".to_owned(),
            None => format!("the image does not exist, or needs `container registry login {registry}`"),
        };
        RegistryError::Unauthorized { registry, hint, detail }
    }

    async fn refusal(&self, response: Response, wanted: &str) -> RegistryError {
        let status = response.status();
        let registry = display_host(response.url());
        let body = self.shared.transport.read_body(response, "an error", MAX_ERROR_BYTES).await;
        let detail = body.map(|body| error_detail(&body)).unwrap_or_default();
        match status {
            StatusCode::NOT_FOUND => RegistryError::NotFound { name: wanted.to_owned(), detail },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => self.unauthorized(detail),
            _ => RegistryError::Status { registry, status: status.as_u16(), detail },
        }
    }
}

/// The distribution specification's error body, as `: code: message`.
fn error_detail(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Body {
        errors: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let Ok(Body { errors }) = serde_json::from_slice(body) else { return String::new() };
    let Some(first) = errors.first() else { return String::new() };
    let text = if first.message.is_empty() { &first.code } else { &first.message };
    if text.is_empty() { String::new() } else { format!(": {}", presentable(text)) }
}

fn is_transient(error: &RegistryError) -> bool {
    match error {
        RegistryError::Unreachable { .. } | RegistryError::Stalled { .. } => true,
        RegistryError::Status { status, .. } => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
        _ => false,
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

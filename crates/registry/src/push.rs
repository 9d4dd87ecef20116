//! Pushing: blobs by one request where the registry takes it, in chunks where it does not or was interrupted.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use bulkhead_oci::{Descriptor, Digest, MediaType, Reference};
use bytes::Bytes;
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RANGE};
use reqwest::{Method, Response, StatusCode, Url};
use tokio::time::sleep;

use crate::RegistryError;
use crate::client::Client;
use crate::exchange::{Access, Call, Failure, Payload};
use crate::redirect::check_redirect;
use crate::session::Session;
use crate::upload::Upload;

/// Small enough for proxies that bound what they take, large enough for a layer to need few, and longer than what
/// registries are known to ask for at least.
const CHUNK_BYTES: u64 = 64 << 20;
/// A registry that takes a little each time before it fails is given up as well.
const MAX_INTERRUPTIONS: u32 = 32;

/// How a blob came to be in the repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobPush {
    /// It was there before.
    Existed,
    /// The registry took it over from another repository of its own.
    Mounted,
    /// It was sent.
    Uploaded,
}

/// The blob that is pushed, and where to.
pub(crate) struct Pushing<'a> {
    pub(crate) repository: &'a str,
    access: Access,
    pub(crate) name: String,
    digest: Digest,
    size_bytes: u64,
    file: Arc<File>,
}

/// What one request of an upload led to.
enum Step {
    Complete,
    /// The registry has the bytes before this offset, and expects the next at this URL.
    Continue(Url, u64),
}

impl Client {
    /// Brings a blob into the reference's repository unless it is there. `mount_from` names another repository of the
    /// same registry that is thought to have it. `progress` is told how many bytes the registry has got.
    ///
    /// # Errors
    /// When the file is not what the descriptor says, or the registry fails or refuses.
    pub async fn push_blob(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        file: File,
        mount_from: Option<&str>,
        progress: impl Fn(u64) + Send + Sync,
    ) -> Result<BlobPush, RegistryError> {
        let repository = reference.repository();
        let pushing = Pushing {
            repository,
            access: Access::push(repository),
            name: format!("{}/{repository}@{}", self.registry(), descriptor.digest),
            digest: descriptor.digest,
            size_bytes: descriptor.size_bytes,
            file: Arc::new(file),
        };
        let url = self.url(&format!("{repository}/blobs/{}", pushing.digest))?;
        match self.perform(&Call::new(Method::HEAD, url, &pushing.access, &pushing.name)).await {
            Ok(_) => return Ok(BlobPush::Existed),
            Err(RegistryError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        let session = match mount_from {
            Some(source) => match self.begin(&pushing, Some(source)).await {
                Ok(None) => return Ok(BlobPush::Mounted),
                Ok(Some(session)) => Some(session),
                // Only the wish to mount may have been refused.
                Err(_) => None,
            },
            None => None,
        };
        self.upload(&pushing, session, &progress).await?;
        Ok(BlobPush::Uploaded)
    }

    /// Sends a manifest or index under the reference's tag or, where `by_digest`, under its digest.
    ///
    /// # Errors
    /// When the registry fails or refuses, for instance because it lacks a blob.
    pub async fn push_manifest(
        &self,
        reference: &Reference,
        media_type: &MediaType,
        bytes: Vec<u8>,
        by_digest: bool,
    ) -> Result<(), RegistryError> {
        let digest = Digest::of(&bytes);
        let name = match reference.tag().filter(|_| !by_digest) {
            Some(tag) => tag.to_owned(),
            None => digest.to_string(),
        };
        let repository = reference.repository();
        let access = Access::push(repository);
        let wanted = reference.name();
        let url = self.url(&format!("{repository}/manifests/{name}"))?;
        let mut call = Call::new(Method::PUT, url, &access, &wanted);
        if let Ok(value) = HeaderValue::from_str(media_type.as_str()) {
            call.headers.insert(CONTENT_TYPE, value);
        }
        call.payload = Payload::Bytes(Bytes::from(bytes));
        let response = self.perform(&call).await?;
        let told = response.headers().get("docker-content-digest").and_then(|value| value.to_str().ok());
        match told.and_then(|text| text.parse().ok()) {
            Some(actual) if actual != digest => {
                let registry = self.registry().to_owned();
                Err(RegistryError::DigestMismatch { registry, expected: digest, actual })
            }
            _ => Ok(()),
        }
    }

    /// Begins an upload; `None` if the registry mounted the blob instead.
    async fn begin(
        &self,
        pushing: &Pushing<'_>,
        mount_from: Option<&str>,
    ) -> Result<Option<Session>, RegistryError> {
        let mut url = self.url(&format!("{}/blobs/uploads/", pushing.repository))?;
        // A token service may refuse to speak of the other repository, which must not keep the blob from being sent.
        let mut mount_access = None;
        if let Some(source) = mount_from {
            let mut query = url.query_pairs_mut();
            query.append_pair("mount", &pushing.digest.to_string()).append_pair("from", source);
            mount_access = Some(Access::mount(pushing.repository, source));
        }
        let access = mount_access.as_ref().unwrap_or(&pushing.access);
        let response = self.perform(&Call::new(Method::POST, url, access, &pushing.name)).await?;
        if mount_from.is_some() && response.status() == StatusCode::CREATED {
            return Ok(None);
        }
        let url = self.session(&response)?;
        Ok(Some(Session::new(self, pushing, url, chunk_bytes(response.headers()))))
    }

    async fn upload(
        &self,
        pushing: &Pushing<'_>,
        mut session: Option<Session>,
        progress: &(impl Fn(u64) + Send + Sync),
    ) -> Result<(), RegistryError> {
        let patience = self.transport().patience();
        let mut offset_bytes = 0;
        let mut in_chunks = false;
        let mut failures = 0;
        let mut interruptions = 0;
        loop {
            // A session that is not taken up again is given up when it goes out of scope.
            let mut current = match session.take() {
                Some(session) => session,
                None => {
                    offset_bytes = 0;
                    self.begin(pushing, None).await?.ok_or_else(|| self.no_session())?
                }
            };
            let url = current.url().clone();
            let step = if offset_bytes == 0 && !in_chunks {
                self.put(pushing, url, 0, progress).await
            } else if offset_bytes < pushing.size_bytes {
                let end_bytes = pushing.size_bytes.min(offset_bytes.saturating_add(current.chunk_bytes()));
                self.patch(pushing, url, offset_bytes..end_bytes, progress).await
            } else {
                self.put(pushing, url, offset_bytes, progress).await
            };
            let failure = match step {
                Ok(Step::Complete) => {
                    current.close();
                    return Ok(());
                }
                Ok(Step::Continue(next, reached_bytes)) => {
                    if reached_bytes > offset_bytes {
                        failures = 0;
                    }
                    current.move_to(next);
                    (session, offset_bytes) = (Some(current), reached_bytes);
                    continue;
                }
                Err(failure) => failure,
            };
            interruptions += 1;
            if interruptions >= MAX_INTERRUPTIONS {
                return Err(failure.error);
            }
            // A proxy before the registry may take no more than so much at once.
            if !in_chunks && matches!(failure.error, RegistryError::Status { status: 413, .. }) {
                in_chunks = true;
                continue;
            }
            failures += 1;
            // What was interrupted before may be beyond repair, where a new upload is not.
            let is_lost = is_session_lost(&failure.error);
            if matches!(failure.error, RegistryError::NotFound { .. }) {
                current.close();
            }
            let may_restart = interruptions > 1 && is_lost;
            if !(failure.is_transient() || may_restart) {
                return Err(failure.error);
            }
            if failures < patience.attempts {
                sleep(patience.delay(failures, failure.retry_after)).await;
            }
            if failure.is_transient() {
                match self.status(pushing, current.url().clone()).await {
                    Ok((next, reached_bytes)) if (1..=pushing.size_bytes).contains(&reached_bytes) => {
                        if reached_bytes > offset_bytes {
                            failures = 0;
                        }
                        current.move_to(next);
                        (session, offset_bytes) = (Some(current), reached_bytes);
                    }
                    Err(RegistryError::NotFound { .. }) => current.close(),
                    _ => {}
                }
            }
            if failures >= patience.attempts {
                return Err(failure.error);
            }
        }
    }

    /// Sends all that is left and completes the upload.
    async fn put(
        &self,
        pushing: &Pushing<'_>,
        mut url: Url,
        offset_bytes: u64,
        progress: &(impl Fn(u64) + Send + Sync),
    ) -> Result<Step, Failure> {
        url.query_pairs_mut().append_pair("digest", &pushing.digest.to_string());
        self.send(pushing, Method::PUT, url, offset_bytes, pushing.size_bytes, progress).await?;
        Ok(Step::Complete)
    }

    /// Sends the next chunk.
    async fn patch(
        &self,
        pushing: &Pushing<'_>,
        url: Url,
        chunk: Range<u64>,
        progress: &(impl Fn(u64) + Send + Sync),
    ) -> Result<Step, Failure> {
        let Range { start: offset_bytes, end: end_bytes } = chunk;
        let response = self.send(pushing, Method::PATCH, url, offset_bytes, end_bytes, progress).await?;
        let next = self.session(&response)?;
        // It may have kept less than it was sent.
        let reached_bytes = received_bytes(response.headers()).unwrap_or(end_bytes);
        if reached_bytes <= offset_bytes || reached_bytes > end_bytes {
            return Err(self.no_session().into());
        }
        Ok(Step::Continue(next, reached_bytes))
    }

    async fn send(
        &self,
        pushing: &Pushing<'_>,
        method: Method,
        url: Url,
        offset_bytes: u64,
        end_bytes: u64,
        progress: &(impl Fn(u64) + Send + Sync),
    ) -> Result<Response, Failure> {
        let length_bytes = end_bytes - offset_bytes;
        let is_whole = length_bytes == pushing.size_bytes;
        let upload =
            Upload::new(Arc::clone(&pushing.file), pushing.digest, offset_bytes, length_bytes, is_whole);
        let mut call = Call::new(method, url, &pushing.access, &pushing.name);
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        if length_bytes > 0
            && call.method == Method::PATCH
            && let Ok(range) = HeaderValue::from_str(&format!("{offset_bytes}-{}", end_bytes - 1))
        {
            call.headers.insert(CONTENT_RANGE, range);
        }
        call.payload = Payload::File(&upload);
        let mut sending = std::pin::pin!(self.attempt(&call));
        let outcome = loop {
            tokio::select! {
                outcome = &mut sending => break outcome,
                () = sleep(std::time::Duration::from_millis(100)) => progress(offset_bytes + upload.sent_bytes()),
            }
        };
        match (outcome, upload.take_failure()) {
            (Ok(response), _) => {
                progress(end_bytes);
                Ok(response)
            }
            (Err(_), Some(error)) => Err(error.into()),
            (Err(failure), None) => Err(failure),
        }
    }

    /// Where an interrupted upload stands.
    async fn status(&self, pushing: &Pushing<'_>, url: Url) -> Result<(Url, u64), RegistryError> {
        let call = Call::get(url, &pushing.access, &pushing.name);
        let response = self.attempt(&call).await.map_err(|failure| failure.error)?;
        let received = received_bytes(response.headers()).ok_or_else(|| self.no_session())?;
        // Optional in this answer.
        let next =
            if response.headers().contains_key(LOCATION) { self.session(&response)? } else { call.url };
        Ok((next, received))
    }

    fn session(&self, response: &Response) -> Result<Url, RegistryError> {
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        check_redirect(&self.shared().base, response.url(), location)
    }

    fn no_session(&self) -> RegistryError {
        let registry = self.registry().to_owned();
        RegistryError::Redirect { registry, reason: "its answer to an upload says not where to go on" }
    }
}

/// How long chunks are: ours, unless the registry asks for longer ones (distribution specification, "Pushing a blob in
/// chunks"). However long they are, they are read from a file.
fn chunk_bytes(headers: &HeaderMap) -> u64 {
    let minimum =
        headers.get("oci-chunk-min-length").and_then(|value| value.to_str().ok()?.trim().parse().ok());
    minimum.unwrap_or(0).max(CHUNK_BYTES)
}

/// `Range: 0-99` says that 100 bytes are there.
fn received_bytes(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get(RANGE)?.to_str().ok()?;
    let (start, end) = value.trim_start_matches("bytes=").split_once('-')?;
    let (start, end) = (start.trim().parse::<u64>().ok()?, end.trim().parse::<u64>().ok()?);
    // An upload without any byte says `0-0`, which could as well mean one; nothing is lost by sending it again.
    match (start, end) {
        (0, 0) => Some(0),
        (0, end) => end.checked_add(1),
        _ => None,
    }
}

/// Whether the registry does not know the upload, or not as it was continued.
fn is_session_lost(error: &RegistryError) -> bool {
    match error {
        RegistryError::NotFound { .. } | RegistryError::Redirect { .. } => true,
        RegistryError::Status { status, .. } => matches!(status, 400 | 409 | 416),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderName;

    use super::*;

    #[test]
    fn chunks_are_as_long_as_the_registry_asks_for() {
        let asking = |text: &'static str| {
            chunk_bytes(&HeaderMap::from_iter([(
                HeaderName::from_static("oci-chunk-min-length"),
                HeaderValue::from_static(text),
            )]))
        };
        assert_eq!(asking("5242880"), CHUNK_BYTES);
        assert_eq!(asking("134217728"), 128 << 20);
        assert_eq!(asking("many"), CHUNK_BYTES);
        assert_eq!(chunk_bytes(&HeaderMap::new()), CHUNK_BYTES);
    }

    #[test]
    fn reads_how_much_is_there() {
        for (text, expected) in [
            ("0-99", Some(100)),
            ("bytes=0-99", Some(100)),
            ("0-0", Some(0)),
            ("5-9", None),
            ("0-18446744073709551615", None),
            ("x", None),
        ] {
            let headers = HeaderMap::from_iter([(RANGE, HeaderValue::from_str(text).unwrap())]);
            assert_eq!(received_bytes(&headers), expected, "{text}");
        }
    }
}

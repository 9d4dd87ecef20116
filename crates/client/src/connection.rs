//! One request on one connection.

use std::error::Error as _;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bulkhead_api::error::ApiError;
use bulkhead_descriptor_passing::stream::DescriptorStream;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::error::{ClientError, ProtocolError};

/// Longest body that is no stream. A list of 100 000 containers stays below it.
const MAXIMUM_BODY_LENGTH_BYTES: usize = 256 * 1024 * 1024;

/// Speaks to the apiserver behind one socket.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
    observer: Option<Observer>,
}

/// Hears of every request when its outcome is known. Bodies, which may hold secrets, are not told.
pub type Observer = fn(&Exchange<'_>);

/// A request, and what came of it.
#[derive(Debug)]
pub struct Exchange<'a> {
    /// As in HTTP: `GET`.
    pub method: &'a str,
    /// With the query.
    pub path: &'a str,
    /// Why there is no response that says success.
    pub failure: Option<&'a ClientError>,
    /// From the connection to the head of the response.
    pub duration: Duration,
}

impl Client {
    /// A client of the apiserver at this socket; connects with each request.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), observer: None }
    }

    /// The same, with somebody who hears of every request.
    #[must_use]
    pub fn observed_by(self, observer: Observer) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let response = self.send(Method::GET, path, Bytes::new(), Vec::new()).await?;
        let body = collect(response).await?;
        Ok(serde_json::from_slice(&body).map_err(ProtocolError::Decode)?)
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<(), ClientError> {
        let response = self.send(Method::DELETE, path, Bytes::new(), Vec::new()).await?;
        collect(response).await.map(drop)
    }

    pub(crate) async fn post_for<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let response = self.send(Method::POST, path, encode(body)?, Vec::new()).await?;
        let body = collect(response).await?;
        Ok(serde_json::from_slice(&body).map_err(ProtocolError::Decode)?)
    }

    pub(crate) async fn post(&self, path: &str, body: &impl Serialize) -> Result<(), ClientError> {
        let response = self.send(Method::POST, path, encode(body)?, Vec::new()).await?;
        collect(response).await.map(drop)
    }

    /// Posts and leaves the body to be read piece by piece.
    pub(crate) async fn post_for_stream(
        &self,
        path: &str,
        body: &impl Serialize,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Incoming, ClientError> {
        let descriptors: Vec<OwnedFd> = descriptors
            .iter()
            .map(BorrowedFd::try_clone_to_owned)
            .collect::<Result<_, _>>()
            .map_err(ProtocolError::Duplicate)?;
        Ok(self.send(Method::POST, path, encode(body)?, descriptors).await?.into_body())
    }

    pub(crate) async fn get_for_stream(&self, path: &str) -> Result<Incoming, ClientError> {
        Ok(self.send(Method::GET, path, Bytes::new(), Vec::new()).await?.into_body())
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Response<Incoming>, ClientError> {
        let begin = Instant::now();
        let outcome = self.exchange(method.clone(), path, body, descriptors).await;
        if let Some(observer) = self.observer {
            let failure = outcome.as_ref().err();
            observer(&Exchange { method: method.as_str(), path, failure, duration: begin.elapsed() });
        }
        outcome
    }

    /// Sends a request; a response outside 2xx becomes [`ClientError::Api`].
    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Response<Incoming>, ClientError> {
        let socket = UnixStream::connect(&self.socket)
            .await
            .map_err(|source| ClientError::Unreachable { path: self.socket.clone(), source })?;
        let stream = TokioIo::new(DescriptorStream::new(socket, descriptors));
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(stream).await.map_err(ProtocolError::Transfer)?;
        // Its errors reach the caller through the response; it ends with the response's body.
        tokio::spawn(connection);
        let safe = method.is_safe();
        let mut request = Request::builder().method(method).uri(path).header(http::header::HOST, "localhost");
        if !body.is_empty() {
            request = request.header(http::header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(body)).map_err(ProtocolError::Request)?;
        let response = match sender.send_request(request).await {
            Ok(response) => response,
            // RFC 9110, section 9.2.1: safe methods change nothing.
            Err(error) if safe || was_not_read(&error) => {
                return Err(ClientError::Abandoned(ProtocolError::Transfer(error)));
            }
            Err(error) => return Err(ProtocolError::Transfer(error).into()),
        };
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = collect(response).await?;
        Err(refusal(status, &body))
    }
}

/// Whether the apiserver ended before it had read all of the request, which then had no effect.
///
/// Of the ways in which a Unix socket ends, these two tell so: a reset comes from a connection that was
/// never accepted or in which something was left unread (`unix_release_sock` in the kernel's
/// net/unix/af_unix.c), a broken pipe from a request that could not be written to its end. One that was
/// read and not answered ends in an ordinary end of file.
fn was_not_read(error: &hyper::Error) -> bool {
    // What hyper had not begun to write.
    if error.is_canceled() {
        return true;
    }
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            return matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe);
        }
        source = cause.source();
    }
    false
}

fn encode(body: &impl Serialize) -> Result<Bytes, ProtocolError> {
    serde_json::to_vec(body).map(Bytes::from).map_err(ProtocolError::Encode)
}

fn refusal(status: StatusCode, body: &[u8]) -> ClientError {
    match serde_json::from_slice::<ApiError>(body) {
        Ok(error) => ClientError::Api(error),
        Err(_) => ProtocolError::Status { status: status.as_u16() }.into(),
    }
}

async fn collect(response: Response<Incoming>) -> Result<Bytes, ClientError> {
    let body = Limited::new(response.into_body(), MAXIMUM_BODY_LENGTH_BYTES);
    match body.collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(ProtocolError::Oversize { limit_bytes: MAXIMUM_BODY_LENGTH_BYTES }.into())
        }
        Err(error) => Err(match error.downcast::<hyper::Error>() {
            Ok(error) => ProtocolError::Transfer(*error).into(),
            Err(_) => ProtocolError::Truncated.into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::net::UnixListener;

    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn what_an_ending_apiserver_never_accepted_can_be_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let client = Client::new(&socket);
        let request = tokio::spawn(async move { client.post("/containers", &"a body").await });
        poll(&mut [PollFd::new(&listener, PollFlags::IN)], None).unwrap();
        drop(listener);
        let error = request.await.unwrap().unwrap_err();
        // The connection may be seen to be reset before anything is sent.
        assert!(matches!(error, ClientError::Abandoned(_) | ClientError::Unreachable { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn what_an_ending_apiserver_read_in_part_can_be_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0]).unwrap();
        });
        let error = Client::new(&socket).post("/containers", &"a body").await.unwrap_err();
        assert!(matches!(error, ClientError::Abandoned(_)), "{error:?}");
        server.join().unwrap();
    }

    #[tokio::test]
    async fn what_an_ending_apiserver_may_have_done_is_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut read = Vec::new();
            while !read.ends_with(b"\"a body\"") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                read.push(byte[0]);
            }
        });
        let error = Client::new(&socket).post("/containers", &"a body").await.unwrap_err();
        assert!(matches!(error, ClientError::Protocol(_)), "{error:?}");
        server.join().unwrap();
    }
}

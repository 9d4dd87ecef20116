//! One request on one connection.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

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
}

impl Client {
    /// A client of the apiserver at this socket; connects with each request.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
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

    /// Sends a request; a response outside 2xx becomes [`ClientError::Api`].
    async fn send(
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
            Err(error) if safe => return Err(ClientError::Abandoned(ProtocolError::Transfer(error))),
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

//! Files of containers, as tar streams through descriptors of the caller.

use std::os::fd::BorrowedFd;

use bulkhead_api::files::{Change, ExtractRequest, PackRequest};
use bulkhead_api::route;

use crate::connection::Client;
use crate::error::ClientError;
use crate::event_stream::EventStream;
use crate::path::fill;

impl Client {
    /// Writes a file or a tree of a container to the descriptor; the last event is `Exited`.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn pack_files(
        &self,
        id: &str,
        request: &PackRequest,
        output: BorrowedFd<'_>,
    ) -> Result<EventStream, ClientError> {
        let path = fill(route::PACK, "id", id);
        Ok(EventStream::new(self.post_for_stream(&path, request, &[output]).await?))
    }

    /// Extracts the descriptor's stream in a container; the last event is `Exited`.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn extract_files(
        &self,
        id: &str,
        request: &ExtractRequest,
        input: BorrowedFd<'_>,
    ) -> Result<EventStream, ClientError> {
        let path = fill(route::EXTRACT, "id", id);
        Ok(EventStream::new(self.post_for_stream(&path, request, &[input]).await?))
    }

    /// Writes a container's whole root to the descriptor; the last event is `Exited`.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn export_container(
        &self,
        id: &str,
        output: BorrowedFd<'_>,
    ) -> Result<EventStream, ClientError> {
        let path = fill(route::EXPORT, "id", id);
        Ok(EventStream::new(self.post_for_stream(&path, &(), &[output]).await?))
    }

    /// How a container's root differs from its image.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn container_changes(&self, id: &str) -> Result<Vec<Change>, ClientError> {
        self.get(&fill(route::CHANGES, "id", id)).await
    }
}

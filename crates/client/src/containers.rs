//! Containers.

use bulkhead_api::container::ContainerSnapshot;
use bulkhead_api::observation::{ContainerStatistics, ProcessEntry};
use bulkhead_api::request::{
    CommitRequest, CreateRequest, LogsQuery, PruneRequest, PruneResponse, RenameRequest, SignalRequest,
    StopRequest, UpdateRequest, UpdateResponse, WaitResponse,
};
use bulkhead_api::route;

use crate::connection::Client;
use crate::error::ClientError;
use crate::event_stream::EventStream;
use crate::log_stream::LogStream;
use crate::path::fill;

impl Client {
    /// Running containers, or all.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn list_containers(&self, all: bool) -> Result<Vec<ContainerSnapshot>, ClientError> {
        self.get(&format!("{}?all={all}", route::CONTAINERS)).await
    }

    /// One container.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn container(&self, id: &str) -> Result<ContainerSnapshot, ClientError> {
        self.get(&fill(route::CONTAINER, "id", id)).await
    }

    /// Creates a container; the last event is `Created`.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn create_container(&self, request: &CreateRequest) -> Result<EventStream, ClientError> {
        Ok(EventStream::new(self.post_for_stream(route::CONTAINERS, request, &[]).await?))
    }

    /// Removes a container; a running one only if forced. With `volumes`, also those of its volumes
    /// that nobody named.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn delete_container(&self, id: &str, force: bool, volumes: bool) -> Result<(), ClientError> {
        let path = fill(route::CONTAINER, "id", id);
        self.delete(&format!("{path}?force={force}&volumes={volumes}")).await
    }

    /// Stops a container and waits for its end.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn stop_container(&self, id: &str, request: &StopRequest) -> Result<(), ClientError> {
        self.post(&fill(route::STOP, "id", id), request).await
    }

    /// Stops a container if it runs, and starts it.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn restart_container(&self, id: &str, request: &StopRequest) -> Result<(), ClientError> {
        self.post(&fill(route::RESTART, "id", id), request).await
    }

    /// Waits until a container has stopped.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn wait_for_container(&self, id: &str) -> Result<WaitResponse, ClientError> {
        self.post_for(&fill(route::WAIT, "id", id), &serde_json::json!({})).await
    }

    /// Makes an image of what it is; the last event is `ImageMade`.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn commit_container(
        &self,
        id: &str,
        request: &CommitRequest,
    ) -> Result<EventStream, ClientError> {
        let path = fill(route::COMMIT, "id", id);
        Ok(EventStream::new(self.post_for_stream(&path, request, &[]).await?))
    }

    /// Changes what it was created with.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn update_container(
        &self,
        id: &str,
        request: &UpdateRequest,
    ) -> Result<UpdateResponse, ClientError> {
        self.post_for(&fill(route::UPDATE, "id", id), request).await
    }

    /// Gives a stopped container another name.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn rename_container(&self, id: &str, request: &RenameRequest) -> Result<(), ClientError> {
        self.post(&fill(route::RENAME, "id", id), request).await
    }

    /// Removes those of these containers that do not run.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn prune_containers(&self, request: &PruneRequest) -> Result<PruneResponse, ClientError> {
        self.post_for(route::PRUNE, request).await
    }

    /// Signals a container's first process; KILL waits for its end.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn kill_container(&self, id: &str, request: &SignalRequest) -> Result<(), ClientError> {
        self.post(&fill(route::KILL, "id", id), request).await
    }

    /// Freezes a container's processes, or lets them go on.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn set_container_paused(&self, id: &str, paused: bool) -> Result<(), ClientError> {
        let route = if paused { route::PAUSE } else { route::UNPAUSE };
        self.post(&fill(route, "id", id), &()).await
    }

    /// A container's use of resources.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn container_statistics(&self, id: &str) -> Result<ContainerStatistics, ClientError> {
        self.get(&fill(route::STATISTICS, "id", id)).await
    }

    /// The processes of a container.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn container_processes(&self, id: &str) -> Result<Vec<ProcessEntry>, ClientError> {
        self.get(&fill(route::PROCESSES, "id", id)).await
    }

    /// The log of a container's first process, or the console of its machine.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn container_logs(&self, id: &str, query: LogsQuery) -> Result<LogStream, ClientError> {
        let mut path = format!("{}?follow={}&boot={}", fill(route::LOGS, "id", id), query.follow, query.boot);
        if query.timestamps {
            path.push_str("&timestamps=true");
        }
        if let Some(tail) = query.tail {
            path.push_str(&format!("&tail={tail}"));
        }
        for (name, value) in [("sinceUs", query.since_us), ("untilUs", query.until_us)] {
            if let Some(value) = value {
                path.push_str(&format!("&{name}={value}"));
            }
        }
        Ok(LogStream::new(self.get_for_stream(&path).await?))
    }
}

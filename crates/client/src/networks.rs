//! Networks.

use bulkhead_api::network::{
    DomainCreateRequest, DomainCreateResponse, NetworkConnectRequest, NetworkCreateRequest,
    NetworkDisconnectRequest, NetworkPruneResponse, NetworkResource,
};
use bulkhead_api::route;

use crate::connection::Client;
use crate::error::ClientError;
use crate::path::fill;

impl Client {
    /// All networks.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn list_networks(&self) -> Result<Vec<NetworkResource>, ClientError> {
        self.get(route::NETWORKS).await
    }

    /// One network.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn network(&self, name: &str) -> Result<NetworkResource, ClientError> {
        self.get(&fill(route::NETWORK, "name", name)).await
    }

    /// Creates a network.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn create_network(
        &self,
        request: &NetworkCreateRequest,
    ) -> Result<NetworkResource, ClientError> {
        self.post_for(route::NETWORKS, request).await
    }

    /// Removes a network that no container refers to.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn delete_network(&self, name: &str) -> Result<(), ClientError> {
        self.delete(&fill(route::NETWORK, "name", name)).await
    }

    /// Has a stopped container join a network from its next start on.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn connect_to_network(
        &self,
        name: &str,
        request: &NetworkConnectRequest,
    ) -> Result<(), ClientError> {
        self.post(&fill(route::NETWORK_CONNECT, "name", name), request).await
    }

    /// Has a stopped container join a network no more.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn disconnect_from_network(
        &self,
        name: &str,
        request: &NetworkDisconnectRequest,
    ) -> Result<(), ClientError> {
        self.post(&fill(route::NETWORK_DISCONNECT, "name", name), request).await
    }

    /// Removes every network but the default one that no container refers to.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn prune_networks(&self) -> Result<NetworkPruneResponse, ClientError> {
        self.post_for(route::PRUNE_NETWORKS, &serde_json::json!({})).await
    }

    /// Names of all domains.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn list_domains(&self) -> Result<Vec<String>, ClientError> {
        self.get(route::DOMAINS).await
    }

    /// Has the host find containers below a domain.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn create_domain(
        &self,
        request: &DomainCreateRequest,
    ) -> Result<DomainCreateResponse, ClientError> {
        self.post_for(route::DOMAINS, request).await
    }

    /// Removes a domain.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn delete_domain(&self, name: &str) -> Result<(), ClientError> {
        self.delete(&fill(route::DOMAIN, "name", name)).await
    }
}

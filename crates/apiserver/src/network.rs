//! Interfaces of containers, from container-network.
//!
//! The daemon is started when the first container wants a network; after a crash of the apiserver the
//! running one is found by its socket. Should it end, the next lease starts another.

pub(crate) mod change;
mod connection;
mod default_network;
mod domains;
pub(crate) mod egress;
pub(crate) mod forwarding;
mod held;
mod ipv6_forwarding;
mod list;
pub(crate) mod rootless;

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bulkhead_api::container::{ContainerConfiguration, NetworkConfiguration, PublishedPort};
use bulkhead_api::error::{ApiError, ErrorCode};
use bulkhead_network_control::{
    ClientError, Denial, FailureCode, Lease, LeaseRequest, PublishRequest, Reply, Request,
};
use bulkhead_paths::Directories;
use bulkhead_state::{DomainRecord, NetworkRecord, RunRecord};
use tokio::sync::{mpsc, watch};

use crate::container::published_ports;
use crate::error::{failed, printable};
use crate::records::Records;
use crate::settings::Settings;

use connection::Link;
use held::Held;

/// One that died is started again to remove what it left: it may be found dead only by asking, and its
/// socket may outlive it by a moment.
const SHUTDOWN_ATTEMPTS: usize = 4;
const SHUTDOWN_PAUSE: Duration = Duration::from_millis(100);

/// An interface and its packet socket.
#[derive(Debug)]
pub(crate) struct Interface {
    pub(crate) lease: Lease,
    pub(crate) socket: OwnedFd,
}

/// What a container holds while it runs.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) interfaces: Vec<Interface>,
    /// With the host ports that were chosen.
    pub(crate) published_ports: Vec<PublishedPort>,
}

/// All networks.
#[derive(Debug)]
pub(crate) struct Networks {
    link: Arc<Link>,
    records: Arc<Records>,
    /// Networks are created and deleted one at a time.
    changing: tokio::sync::Mutex<()>,
    /// Ids whose leases are being given up. A container of the same name that starts right now must
    /// not have its new lease taken away by the old one's release.
    releasing: Arc<Mutex<HashMap<String, watch::Receiver<()>>>>,
}

impl Networks {
    pub(crate) fn new(
        directories: &Directories,
        settings: &Settings,
        records: Arc<Records>,
        networks: Vec<NetworkRecord>,
        domains: Vec<DomainRecord>,
    ) -> Self {
        let link = Arc::new(Link::new(directories, settings, Arc::clone(&records), networks));
        link.know_domains(domains);
        Self { link, records, changing: tokio::sync::Mutex::default(), releasing: Arc::default() }
    }

    /// Whether containers of any network are to reach other hosts by IPv6.
    pub(crate) fn lead_outside_by_ipv6(&self) -> bool {
        self.link.records().values().any(|network| network.ipv6_subnet.is_some() && !network.internal)
    }

    /// Leases every interface that a container wants and binds its ports; on failure nothing is kept.
    pub(crate) async fn connect(
        &self,
        configuration: &ContainerConfiguration,
    ) -> Result<Connected, ApiError> {
        let id = configuration.id.as_str();
        if configuration.published_ports.is_empty() {
            self.wait_for_release(id).await;
        } else {
            // A port may belong to whoever ended just now.
            self.wait_for_releases().await;
        }
        let mut interfaces = Vec::with_capacity(configuration.networks.len());
        let connected = async {
            for network in &configuration.networks {
                interfaces.push(self.lease_one(configuration, network).await?);
            }
            self.publish(configuration).await
        };
        match connected.await {
            Ok(published_ports) => {
                let leases = interfaces.iter().map(|interface| &interface.lease);
                self.link.hold(id, Held::leased(configuration, leases, &published_ports));
                Ok(Connected { interfaces, published_ports })
            }
            Err(error) => {
                if !interfaces.is_empty() {
                    self.release(id);
                }
                Err(error)
            }
        }
    }

    async fn publish(&self, configuration: &ContainerConfiguration) -> Result<Vec<PublishedPort>, ApiError> {
        let (Some(first), false) = (configuration.networks.first(), configuration.published_ports.is_empty())
        else {
            return Ok(Vec::new());
        };
        let request = Request::Publish(PublishRequest {
            container_id: configuration.id.clone(),
            network: first.network.clone(),
            ports: configuration
                .published_ports
                .iter()
                .map(published_ports::range)
                .collect::<Result<_, _>>()?,
        });
        match self.link.request(request).await?.0 {
            Reply::Published(ports) => Ok(ports.into_iter().map(published_ports::shown).collect()),
            _ => Err(ApiError::new(
                ErrorCode::InternalError,
                format!("container-network did not publish the ports of container '{}'", configuration.id),
            )),
        }
    }

    async fn lease_one(
        &self,
        configuration: &ContainerConfiguration,
        wanted: &NetworkConfiguration,
    ) -> Result<Interface, ApiError> {
        let request = Request::Lease(LeaseRequest {
            container_id: configuration.id.clone(),
            network: wanted.network.clone(),
            hostname: wanted.options.hostname.clone(),
            mac_address: wanted.options.mac_address.clone(),
            mtu: wanted.options.mtu,
            ipv4_address: wanted.options.ipv4_address.as_deref().and_then(|address| address.parse().ok()),
            ipv6_address: wanted.options.ipv6_address.as_deref().and_then(|address| address.parse().ok()),
            aliases: held::aliases(configuration, wanted),
            egress: egress::policy(configuration),
        });
        let (reply, descriptors) = match self.link.request(request.clone()).await {
            // It could not be had when container-network started: says why, or has it now.
            Err(error) if error.code == ErrorCode::NotFound => {
                self.link.establish(&wanted.network).await?;
                self.link.request(request).await?
            }
            outcome => outcome?,
        };
        match (reply, descriptors.into_iter().next()) {
            (Reply::Lease(lease), Some(socket)) => Ok(Interface { lease, socket }),
            _ => Err(ApiError::new(
                ErrorCode::InternalError,
                format!("container-network gave no interface on network '{}'", wanted.network),
            )),
        }
    }

    /// Gives up all leases and ports of a container, in the background.
    pub(crate) fn release(&self, container_id: &str) {
        self.link.let_go(container_id);
        let Some(client) = self.link.current() else { return };
        let (sender, receiver) = watch::channel(());
        self.releasing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(container_id.to_owned(), receiver.clone());
        let releasing = Arc::clone(&self.releasing);
        let container_id = container_id.to_owned();
        tokio::spawn(async move {
            let released = client.request(Request::Release { container_id: container_id.clone() }).await;
            if let Err(error) = released {
                tracing::warn!(container_id, "{}", failed("cannot release the network", &error));
            }
            drop(sender);
            let mut releasing = releasing.lock().unwrap_or_else(PoisonError::into_inner);
            if releasing.get(&container_id).is_some_and(|known| known.same_channel(&receiver)) {
                releasing.remove(&container_id);
            }
        });
    }

    async fn wait_for_release(&self, container_id: &str) {
        let pending =
            self.releasing.lock().unwrap_or_else(PoisonError::into_inner).get(container_id).cloned();
        if let Some(mut pending) = pending {
            // The sender says nothing; that it is dropped is what counts.
            drop(pending.changed().await);
        }
    }

    async fn wait_for_releases(&self) {
        let all: Vec<_> =
            self.releasing.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for mut pending in all {
            // As above.
            drop(pending.changed().await);
        }
    }

    /// A container that was found running, with what it holds.
    pub(crate) fn hold(&self, configuration: &ContainerConfiguration, run: &RunRecord) {
        if !run.networks.is_empty() {
            self.link.hold(&configuration.id, Held::recorded(configuration, run));
        }
    }

    /// A container has another name, and with it what it holds.
    pub(crate) async fn rename(
        &self,
        old: &str,
        configuration: &ContainerConfiguration,
        run: &RunRecord,
    ) -> Result<(), ApiError> {
        if run.networks.is_empty() {
            return Ok(());
        }
        let held = Held::recorded(configuration, run);
        self.link.rename(held::renaming(old, configuration), held).await
    }

    /// During recovery: an earlier service may have told container-network nothing of this.
    pub(crate) fn expect_renaming(&self, old: &str, configuration: &ContainerConfiguration) {
        self.link.expect_renaming(held::renaming(old, configuration));
    }

    /// After recovery: what running containers hold is made sure of, the rest is given up. Starts no
    /// daemon that nobody needs.
    pub(crate) async fn settle(&self) {
        if let Err(error) = self.link.settle().await {
            tracing::error!("{error}");
        }
    }

    /// What egress policies refuse from now on; for one listener.
    fn denials(&self) -> Option<mpsc::Receiver<Denial>> {
        self.link.denials()
    }

    /// What is wrong with the network of a running container.
    pub(crate) fn problem(&self, container_id: &str) -> Option<String> {
        self.link.problem(container_id)
    }

    /// Ends container-network and removes everything that it or an earlier one made on this host.
    pub(crate) async fn shut_down(&self) {
        for attempt in 1..=SHUTDOWN_ATTEMPTS {
            let ended = async {
                match self.link.last().await? {
                    Some(client) => {
                        connection::within_limit(client.request(Request::Shutdown)).await.map(drop)
                    }
                    None => Ok(()),
                }
            };
            match ended.await {
                Ok(()) => return,
                // It died a moment ago.
                Err(ClientError::Closed | ClientError::Transfer(_)) if attempt < SHUTDOWN_ATTEMPTS => {
                    tokio::time::sleep(SHUTDOWN_PAUSE).await;
                }
                Err(error) => {
                    return tracing::warn!("{}", failed("cannot end container-network", &error));
                }
            }
        }
    }
}

fn from_client(error: ClientError) -> ApiError {
    let ClientError::Refused(failure) = error else {
        return failed("container-network does not answer", &error);
    };
    let code = match failure.code {
        FailureCode::NotFound => ErrorCode::NotFound,
        FailureCode::Exists => ErrorCode::Exists,
        FailureCode::InUse => ErrorCode::InvalidState,
        FailureCode::InvalidArgument => ErrorCode::InvalidArgument,
        FailureCode::Exhausted | FailureCode::PermissionDenied | FailureCode::System => {
            ErrorCode::InternalError
        }
    };
    ApiError::new(code, printable(&failure.message))
}

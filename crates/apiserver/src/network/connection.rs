//! The connection to container-network and how it comes to be.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bulkhead_api::error::{ApiError, ErrorCode};
use bulkhead_network_control::{
    Client, ClientError, DEFAULT_NETWORK, FailureCode, Network, NetworkConfiguration, Reply, Request,
};
use bulkhead_paths::Directories;
use bulkhead_state::{Change, NetworkRecord};

use super::change::missing;
use super::from_client;
use crate::records::Records;
use crate::settings::Settings;
use crate::{date, spawn};

/// Interfaces take milliseconds; on a host that swaps, seconds.
const REQUEST_LIMIT: Duration = Duration::from_secs(20);

/// Where container-network is and what it has to know.
#[derive(Debug)]
pub(super) struct Link {
    program: PathBuf,
    environment: Vec<(&'static str, OsString)>,
    log: PathBuf,
    socket: PathBuf,
    records: Arc<Records>,
    networks: Mutex<BTreeMap<String, NetworkRecord>>,
    client: Mutex<Option<Arc<Client>>>,
    /// One request starts the daemon, the others wait for it.
    connecting: tokio::sync::Mutex<()>,
}

impl Link {
    pub(super) fn new(
        directories: &Directories,
        settings: &Settings,
        records: Arc<Records>,
        networks: Vec<NetworkRecord>,
    ) -> Self {
        let mut networks: BTreeMap<String, NetworkRecord> =
            networks.into_iter().map(|record| (record.name.clone(), record)).collect();
        networks.entry(DEFAULT_NETWORK.to_owned()).or_insert_with(|| NetworkRecord {
            name: DEFAULT_NETWORK.to_owned(),
            ipv4_subnet: settings.ipv4_subnet.clone(),
            ipv6_subnet: settings.ipv6_subnet.clone(),
            subnet_is_fixed: false,
            internal: false,
            labels: BTreeMap::new(),
            options: BTreeMap::new(),
            creation_date: date::now(),
        });
        Self {
            program: directories.helper("container-network"),
            environment: directories.environment().into(),
            log: directories.log_root.join("container-network.log"),
            socket: directories.network_socket(),
            records,
            networks: Mutex::new(networks),
            client: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
        }
    }

    /// Records of all networks, by name.
    pub(super) fn records(&self) -> BTreeMap<String, NetworkRecord> {
        self.networks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The connection if there is a live one.
    pub(super) fn current(&self) -> Option<Arc<Client>> {
        self.client
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
            .filter(|client| !client.is_closed())
    }

    /// Sends a request, starting the daemon if need be; once more if it ended meanwhile.
    pub(super) async fn request(&self, request: Request) -> Result<(Reply, Vec<OwnedFd>), ApiError> {
        match self.request_once(request.clone()).await {
            Err(ClientError::Closed | ClientError::Transfer(_)) => {
                tracing::warn!("container-network ended; starting it again");
                self.request_once(request).await.map_err(from_client)
            }
            outcome => outcome.map_err(from_client),
        }
    }

    async fn request_once(&self, request: Request) -> Result<(Reply, Vec<OwnedFd>), ClientError> {
        let client = self.connect().await?;
        tokio::time::timeout(REQUEST_LIMIT, client.request(request))
            .await
            .unwrap_or_else(|_| Err(ClientError::Connect(std::io::ErrorKind::TimedOut.into())))
    }

    /// Finds a daemon that an earlier apiserver left; true if there is one.
    pub(super) async fn find(&self) -> bool {
        let _one_at_a_time = self.connecting.lock().await;
        match Client::connect(&self.socket).await {
            Ok(client) => self.introduce(client).await.is_ok(),
            Err(_) => false,
        }
    }

    async fn connect(&self) -> Result<Arc<Client>, ClientError> {
        if let Some(client) = self.current() {
            return Ok(client);
        }
        let _one_at_a_time = self.connecting.lock().await;
        if let Some(client) = self.current() {
            return Ok(client);
        }
        if let Ok(client) = Client::connect(&self.socket).await {
            return self.introduce(client).await;
        }
        let (mut child, socket) =
            spawn::helper(&self.program, &self.environment, &self.log).map_err(ClientError::Connect)?;
        tokio::spawn(async move {
            match child.wait().await {
                Ok(status) => tracing::info!(%status, "container-network ended"),
                Err(error) => tracing::warn!("cannot reap container-network: {error}"),
            }
        });
        self.introduce(Client::over(socket)).await
    }

    /// Tells a daemon the networks that we know, and records the subnets that it picked.
    async fn introduce(&self, client: Client) -> Result<Arc<Client>, ClientError> {
        for record in self.records().into_values() {
            let wanted = configuration(&record);
            let created = match client.request(Request::CreateNetwork(wanted.clone())).await {
                // The subnet that served yesterday may belong to a VPN today.
                Err(ClientError::Refused(failure))
                    if failure.code == FailureCode::Exists && !record.subnet_is_fixed =>
                {
                    tracing::warn!(network = record.name, "{failure}; taking other subnets");
                    let free = NetworkConfiguration { ipv4_subnet: None, ipv6_subnet: None, ..wanted };
                    client.request(Request::CreateNetwork(free)).await
                }
                outcome => outcome,
            };
            match created {
                Ok((Reply::Network(network), _)) => self.remember(NetworkRecord {
                    ipv4_subnet: Some(network.ipv4_subnet),
                    ipv6_subnet: network.ipv6_subnet,
                    ..record
                }),
                Ok(_) => tracing::error!(network = record.name, "container-network answered nonsense"),
                Err(ClientError::Refused(failure)) if record.name != DEFAULT_NETWORK => {
                    tracing::error!(network = record.name, "cannot create network: {failure}");
                }
                Err(error) => return Err(error),
            }
        }
        let client = Arc::new(client);
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&client));
        Ok(client)
    }

    /// Makes a new network and knows it from now on, but does not record it.
    pub(super) async fn create(&self, record: NetworkRecord) -> Result<(Network, NetworkRecord), ApiError> {
        let (reply, _) = self.request(Request::CreateNetwork(configuration(&record))).await?;
        let Reply::Network(network) = reply else {
            return Err(failed_reply());
        };
        let record = NetworkRecord { ipv4_subnet: Some(network.ipv4_subnet.clone()), ..record };
        self.networks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(record.name.clone(), record.clone());
        Ok((network, record))
    }

    /// Makes sure that a known network is there.
    pub(super) async fn establish(&self, name: &str) -> Result<(), ApiError> {
        let record = self.records().remove(name).ok_or_else(|| missing(name))?;
        match self.request(Request::CreateNetwork(configuration(&record))).await?.0 {
            Reply::Network(_) => Ok(()),
            _ => Err(failed_reply()),
        }
    }

    /// Knows a network no more.
    pub(super) fn forget(&self, name: &str) {
        self.networks.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    fn remember(&self, record: NetworkRecord) {
        let known = self
            .networks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(record.name.clone(), record.clone());
        if known.as_ref() != Some(&record) {
            // Only a preference: nothing waits for it, and the writer logs a failure.
            drop(self.records.submit(Change::PutNetwork(Box::new(record))));
        }
    }
}

fn configuration(record: &NetworkRecord) -> NetworkConfiguration {
    NetworkConfiguration {
        name: record.name.clone(),
        ipv4_subnet: record.ipv4_subnet.clone(),
        ipv6_subnet: record.ipv6_subnet.clone(),
        internal: record.internal,
        options: record.options.clone(),
    }
}

fn failed_reply() -> ApiError {
    ApiError::new(ErrorCode::InternalError, "container-network answered nonsense")
}

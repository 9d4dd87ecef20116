//! The connection to container-network and how it comes to be.

mod renaming;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bulkhead_api::error::{ApiError, ErrorCode};
use bulkhead_network_control::{
    Client, ClientError, DEFAULT_NETWORK, Denial, FailureCode, Network, NetworkConfiguration, RenameRequest,
    Reply, Request,
};
use bulkhead_paths::Directories;
use bulkhead_state::{Change, DomainRecord, NetworkRecord};
use tokio::sync::mpsc;

use super::change::missing;
use super::held::Held;
use super::{default_network, from_client};
use crate::error::{failed, printable};
use crate::records::Records;
use crate::settings::Settings;
use crate::spawn;

/// Interfaces take milliseconds; on a host that swaps, seconds.
const REQUEST_LIMIT: Duration = Duration::from_secs(20);

/// Refusals of egress policies that wait to be told; more are lost.
const MAXIMUM_DENIALS: usize = 1024;

/// Between attempts to start a daemon that does not start.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// Where container-network is and what it has to know.
#[derive(Debug)]
pub(super) struct Link {
    program: PathBuf,
    environment: Vec<(&'static str, OsString)>,
    log: PathBuf,
    socket: PathBuf,
    records: Arc<Records>,
    networks: Mutex<BTreeMap<String, NetworkRecord>>,
    /// The default network as it was before the settings gave it another IPv6 subnet; until it has that.
    earlier_default: Mutex<Option<NetworkRecord>>,
    /// By name.
    domains: Mutex<Vec<DomainRecord>>,
    client: Mutex<Option<Arc<Client>>>,
    /// One request starts the daemon, the others wait for it.
    connecting: tokio::sync::Mutex<()>,
    /// By container id.
    held: Mutex<BTreeMap<String, Held>>,
    /// New names that the daemon has to hear before anything else.
    renamings: Mutex<Vec<RenameRequest>>,
    /// What running containers have lost, by id.
    problems: Mutex<BTreeMap<String, String>>,
    /// container-network keeps its namespace here when it dies.
    pinned_namespace: PathBuf,
    ending: AtomicBool,
    /// What egress policies refused, to be told.
    denials: Denials,
}

/// Both ends; the receiving one until somebody takes it.
#[derive(Debug)]
struct Denials {
    sender: mpsc::Sender<Denial>,
    receiver: Mutex<Option<mpsc::Receiver<Denial>>>,
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
        let earlier_default = default_network::apply(settings, &mut networks);
        let (sender, receiver) = mpsc::channel(MAXIMUM_DENIALS);
        Self {
            program: directories.helper("container-network"),
            environment: directories.environment().into(),
            log: directories.log_root.join("container-network.log"),
            socket: directories.network_socket(),
            records,
            networks: Mutex::new(networks),
            earlier_default: Mutex::new(earlier_default),
            domains: Mutex::default(),
            client: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
            held: Mutex::default(),
            renamings: Mutex::default(),
            problems: Mutex::default(),
            pinned_namespace: directories.network_namespace(),
            ending: AtomicBool::new(false),
            denials: Denials { sender, receiver: Mutex::new(Some(receiver)) },
        }
    }

    /// Records of all networks, by name.
    pub(super) fn records(&self) -> BTreeMap<String, NetworkRecord> {
        self.networks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn domains(&self) -> Vec<DomainRecord> {
        self.domains.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn know_domains(&self, domains: Vec<DomainRecord>) {
        *self.domains.lock().unwrap_or_else(PoisonError::into_inner) = domains;
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
    pub(super) async fn request(
        self: &Arc<Self>,
        request: Request,
    ) -> Result<(Reply, Vec<OwnedFd>), ApiError> {
        match self.request_once(request.clone()).await {
            Err(ClientError::Closed | ClientError::Transfer(_)) => {
                tracing::warn!("container-network ended; starting it again");
                self.request_once(request).await.map_err(from_client)
            }
            outcome => outcome.map_err(from_client),
        }
    }

    async fn request_once(self: &Arc<Self>, request: Request) -> Result<(Reply, Vec<OwnedFd>), ClientError> {
        within_limit(async { self.connect().await?.request(request).await }).await
    }

    /// Connects to the daemon that an earlier apiserver left, and starts one if containers need it.
    pub(super) async fn settle(self: &Arc<Self>) -> Result<(), ApiError> {
        if self.held().is_empty() {
            let _one_at_a_time = self.connecting.lock().await;
            let found = within_limit(async {
                match Client::connect(&self.socket).await {
                    Ok(client) => self.introduce(client).await.map(drop),
                    Err(_) => Ok(()),
                }
            });
            return found.await.map_err(from_client);
        }
        within_limit(self.connect()).await.map(drop).map_err(from_client)
    }

    /// The daemon, to be ended. One that died is started once more if it left something to remove.
    pub(super) async fn last(self: &Arc<Self>) -> Result<Option<Arc<Client>>, ClientError> {
        self.ending.store(true, Ordering::Relaxed);
        if let Some(client) = self.current() {
            return Ok(Some(client));
        }
        if !self.pinned_namespace.exists() {
            return Ok(None);
        }
        within_limit(self.connect()).await.map(Some)
    }

    async fn connect(self: &Arc<Self>) -> Result<Arc<Client>, ClientError> {
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

    /// Tells a daemon what we know: networks, whose subnets it may pick, and what running containers
    /// hold. It forgets all else.
    async fn introduce(self: &Arc<Self>, client: Client) -> Result<Arc<Client>, ClientError> {
        self.settle_default(&client).await?;
        for record in self.records().into_values() {
            let wanted = configuration(&record);
            let created = match client.request(Request::CreateNetwork(wanted.clone())).await {
                // The subnet that served yesterday may belong to a VPN today.
                Err(ClientError::Refused(failure))
                    if failure.code == FailureCode::Exists && !record.subnet_is_fixed =>
                {
                    tracing::warn!(network = record.name, "{failure}; taking another subnet");
                    let free = NetworkConfiguration { ipv4_subnet: None, ..wanted };
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
        let domains = self.domains();
        if !domains.is_empty() {
            match client.request(super::domains::request(&domains)).await {
                Err(ClientError::Refused(failure)) => {
                    tracing::error!("cannot serve the host's domains: {failure}");
                }
                outcome => drop(outcome?),
            }
        }
        self.complete_renamings(&client).await?;
        let client = Arc::new(client);
        self.restore(&client).await?;
        self.supervise(Arc::clone(&client));
        self.listen_to_denials(Arc::clone(&client));
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&client));
        Ok(client)
    }

    /// Gives the default network the IPv6 subnet of the settings. If that cannot be, it stays as it was.
    async fn settle_default(&self, client: &Client) -> Result<(), ClientError> {
        let earlier = self.earlier_default.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (Some(earlier), Some(record)) = (earlier, self.records().remove(DEFAULT_NETWORK)) else {
            return Ok(());
        };
        let refusal = if self.held().is_empty() {
            match client.request(Request::CreateNetwork(configuration(&record))).await {
                Ok(_) => None,
                Err(ClientError::Refused(failure)) => Some(failure.to_string()),
                Err(error) => return Err(error),
            }
        } else {
            Some("containers run that have their addresses".to_owned())
        };
        if let Some(refusal) = refusal {
            tracing::warn!(
                subnet = record.ipv6_subnet,
                "the default network keeps its IPv6 subnet until the next start: {refusal}"
            );
            self.know(earlier);
        } else {
            // From now on containers may hold addresses of it. The writer logs a failure.
            drop(self.records.submit(Change::PutNetwork(Box::new(record))));
        }
        *self.earlier_default.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }

    async fn restore(&self, client: &Client) -> Result<(), ClientError> {
        let all = self.held().clone();
        let mut problems = BTreeMap::new();
        for (id, held) in &all {
            for request in held.requests(id) {
                match client.request(request).await {
                    Ok(_) => {}
                    Err(ClientError::Refused(failure)) => {
                        tracing::error!(id, "cannot restore the network of a running container: {failure}");
                        problems.entry(id.clone()).or_insert_with(|| printable(&failure.message));
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        *self.problems.lock().unwrap_or_else(PoisonError::into_inner) = problems;
        let container_ids = all.into_keys().collect();
        client.request(Request::Retain { container_ids }).await.map(drop)
    }

    /// Starts the daemon again when it dies while containers need it.
    fn supervise(self: &Arc<Self>, client: Arc<Client>) {
        let link = Arc::downgrade(self);
        tokio::spawn(async move {
            client.closed().await;
            drop(client);
            while let Some(link) = link.upgrade() {
                if link.ending.load(Ordering::Relaxed) || link.held().is_empty() {
                    return;
                }
                tracing::warn!("container-network ended; starting it again for running containers");
                match reconnect(Arc::clone(&link)).await {
                    Ok(_) => return,
                    Err(error) => tracing::error!("{}", failed("cannot restore the network", &error)),
                }
                drop(link);
                tokio::time::sleep(RESTART_PAUSE).await;
            }
        });
    }

    pub(super) fn denials(&self) -> Option<mpsc::Receiver<Denial>> {
        self.denials.receiver.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Hears of what egress policies refuse, for as long as the daemon lives.
    fn listen_to_denials(&self, client: Arc<Client>) {
        let sender = self.denials.sender.clone();
        tokio::spawn(async move {
            // It ends with the daemon, or with one that does not know the request.
            while let Ok((Reply::Denials(denials), _)) = client.request(Request::Denials).await {
                for denial in denials {
                    if sender.try_send(denial).is_err() {
                        tracing::warn!("too many egress denials to tell all");
                        break;
                    }
                }
            }
        });
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<String, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A container has these from now on.
    pub(super) fn hold(&self, id: &str, held: Held) {
        self.held().insert(id.to_owned(), held);
    }

    /// A container has nothing any more.
    pub(super) fn let_go(&self, id: &str) {
        self.held().remove(id);
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    pub(super) fn problem(&self, id: &str) -> Option<String> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Makes a new network and knows it from now on, but does not record it.
    pub(super) async fn create(
        self: &Arc<Self>,
        record: NetworkRecord,
    ) -> Result<(Network, NetworkRecord), ApiError> {
        let (reply, _) = self.request(Request::CreateNetwork(configuration(&record))).await?;
        let Reply::Network(network) = reply else {
            return Err(failed_reply());
        };
        let record = NetworkRecord {
            ipv4_subnet: Some(network.ipv4_subnet.clone()),
            ipv6_subnet: network.ipv6_subnet.clone(),
            ..record
        };
        self.networks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(record.name.clone(), record.clone());
        Ok((network, record))
    }

    /// Makes sure that a known network is there.
    pub(super) async fn establish(self: &Arc<Self>, name: &str) -> Result<(), ApiError> {
        let record = self.records().remove(name).ok_or_else(|| missing(name))?;
        match self.request(Request::CreateNetwork(configuration(&record))).await?.0 {
            Reply::Network(_) => Ok(()),
            _ => Err(failed_reply()),
        }
    }

    /// Knows a network no more.
    pub(super) fn forget(&self, name: &str) -> Option<NetworkRecord> {
        self.networks.lock().unwrap_or_else(PoisonError::into_inner).remove(name)
    }

    /// Knows a network that it has forgotten.
    pub(super) fn know(&self, record: NetworkRecord) {
        self.networks.lock().unwrap_or_else(PoisonError::into_inner).insert(record.name.clone(), record);
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

/// Boxed: the task that supervises a connection makes the next one, and that has such a task.
fn reconnect(link: Arc<Link>) -> Pin<Box<dyn Future<Output = Result<Arc<Client>, ClientError>> + Send>> {
    Box::pin(async move { within_limit(link.connect()).await })
}

/// As long as a request may take.
pub(super) async fn within_limit<T>(
    work: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    let outcome = tokio::time::timeout(REQUEST_LIMIT, work).await;
    outcome.unwrap_or_else(|_| Err(ClientError::Connect(std::io::ErrorKind::TimedOut.into())))
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

//! Names of containers for the containers of the same network; everything else is asked of the
//! host's resolvers.

mod cache;
pub(crate) mod host_resolver;
mod message;
mod reverse;
mod shares;
mod upstream;

use std::io;
use std::net::{IpAddr, SocketAddrV4};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use cache::Cache;
pub(crate) use message::Found;
use message::{Code, HEADER_BYTES, MAXIMUM_UDP_BYTES, Question, Refusal, response};
use shares::Shares;
use upstream::{Resolvers, Transport, framed};

pub(crate) const PORT: u16 = 53;
/// Queries of one network that wait for resolvers; more are dropped, and guests ask again.
const MAXIMUM_FORWARDED: usize = 256;
/// Of these, those of one container.
const MAXIMUM_FORWARDED_EACH: usize = 64;
/// TCP connections of one network; more are closed.
const MAXIMUM_CONNECTIONS: usize = 64;
/// Of these, those of one container.
const MAXIMUM_CONNECTIONS_EACH: usize = 8;
const CONNECTION_IDLE_LIMIT: Duration = Duration::from_secs(10);

/// Finds containers of one network.
pub(crate) trait Names: Send + Sync + 'static {
    /// The addresses behind a name in lower case, as the container with the client's address sees it;
    /// none if it is no container's.
    fn find(&self, name: &str, client: IpAddr) -> Vec<IpAddr>;

    /// The names of who has an address, as far as they are the client's business; `None` if it is of none of our
    /// networks.
    fn find_names(&self, address: IpAddr, client: IpAddr) -> Option<Vec<String>>;

    /// What the client's egress policy says of a name.
    fn permission(&self, name: &str, client: IpAddr) -> Permission;

    /// Lets the client reach what an allowed name stands for; false if it cannot.
    fn allow<'a>(&'a self, name: &'a str, client: IpAddr, found: Found) -> Allowing<'a>;

    /// Whether the client may reach an address of a container or of the gateway by whatever name.
    fn may_reach(&self, address: IpAddr, client: IpAddr) -> bool;

    /// Whether an address is one that containers have: no name of other servers stands for it.
    fn is_inside(&self, address: IpAddr) -> bool;

    /// Takes note of a name that was refused.
    fn deny(&self, name: &str, client: IpAddr);
}

/// The future of [`Names::allow`].
pub(crate) type Allowing<'a> = Pin<Box<dyn Future<Output = bool> + Send + 'a>>;

/// What an egress policy says of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permission {
    /// There is no policy.
    Unlimited,
    /// It may be asked for, and reached.
    Allowed,
    /// It is none of the client's business.
    Denied,
}

/// The way to the host's resolvers, shared by all networks.
#[derive(Clone, Debug)]
pub(crate) struct Forwarder {
    resolvers: Arc<Resolvers>,
    cache: Arc<Cache>,
    host: Handle,
}

impl Forwarder {
    /// `host` runs on a thread in the host's namespace.
    pub(crate) fn new(host: Handle) -> Self {
        Self { resolvers: Arc::default(), cache: Arc::default(), host }
    }

    async fn forward(&self, transport: Transport, question: &Question, query: &[u8]) -> Option<Vec<u8>> {
        if let Some(response) = self.cache.find(transport, query) {
            return Some(response);
        }
        let resolvers = Arc::clone(&self.resolvers);
        let (question, sent) = (question.clone(), query.to_vec());
        let asking = self.host.spawn(async move { resolvers.ask(transport, &question, &sent).await });
        let response = asking.await.ok().flatten()?;
        self.cache.keep(transport, query, &response);
        Some(response)
    }
}

/// The server of one network.
#[derive(Debug)]
pub(crate) struct Server {
    tasks: [JoinHandle<()>; 2],
}

/// What answers the queries of one network.
struct Answers {
    names: Box<dyn Names>,
    /// Absent for internal networks: names could carry data outside.
    forwarder: Option<Forwarder>,
    forwarded: Arc<Shares>,
}

impl Server {
    /// Listens on an address of the calling thread's namespace.
    ///
    /// # Errors
    /// bind(2) failed.
    pub(crate) async fn start(
        address: SocketAddrV4,
        names: Box<dyn Names>,
        forwarder: Option<Forwarder>,
    ) -> io::Result<Self> {
        let datagrams = Arc::new(UdpSocket::bind(address).await?);
        let listener = TcpListener::bind(address).await?;
        let answers = Arc::new(Answers {
            names,
            forwarder,
            forwarded: Shares::new(MAXIMUM_FORWARDED, MAXIMUM_FORWARDED_EACH),
        });
        Ok(Self {
            tasks: [
                tokio::spawn(serve_datagrams(datagrams, Arc::clone(&answers))),
                tokio::spawn(serve_connections(listener, answers)),
            ],
        })
    }
}

impl Server {
    /// Ends it; its address is free afterwards.
    pub(crate) async fn stop(self) {
        for task in self.tasks {
            task.abort();
            // Cancelled, which is what was asked for.
            drop(task.await);
        }
    }
}

impl Answers {
    /// The answer if it is known here.
    fn local(&self, query: &[u8], client: IpAddr) -> Result<Vec<u8>, Option<Question>> {
        let question = match Question::parse(query) {
            Ok(question) => question,
            Err(Refusal::Silent) => return Err(None),
            Err(Refusal::Code(code)) => return Ok(response(query, code)),
        };
        let permission = self.names.permission(&question.name, client);
        // Nobody outside knows them.
        if let Some(address) = question.asked_address()
            && let Some(names) = self.names.find_names(address, client)
        {
            if permission == Permission::Denied && !self.names.may_reach(address, client) {
                self.names.deny(&question.name, client);
                return Ok(question.empty_answer(query, Code::Refused));
            }
            return Ok(question.answer_with_names(query, &names));
        }
        if permission == Permission::Allowed {
            return Err(Some(question));
        }
        let mut found = self.names.find(&question.name, client);
        if permission == Permission::Denied {
            // Who is there is nobody's business who may not go there.
            found.retain(|address| self.names.may_reach(*address, client));
        }
        if !found.is_empty() {
            return Ok(question.answer(query, &found));
        }
        if permission == Permission::Denied {
            self.names.deny(&question.name, client);
            return Ok(question.empty_answer(query, Code::Refused));
        }
        match self.forwarder {
            None => Ok(question.empty_answer(query, Code::NameError)),
            Some(_) => Err(Some(question)),
        }
    }

    async fn remote(
        &self,
        transport: Transport,
        question: &Question,
        query: &[u8],
        client: IpAddr,
    ) -> Vec<u8> {
        // The client may have got a policy since.
        match self.names.permission(&question.name, client) {
            Permission::Allowed => return self.allowed(transport, question, query, client).await,
            Permission::Denied => return question.empty_answer(query, Code::Refused),
            Permission::Unlimited => {}
        }
        let forwarded = match &self.forwarder {
            Some(forwarder) => forwarder.forward(transport, question, query).await,
            None => None,
        };
        forwarded.unwrap_or_else(|| question.empty_answer(query, Code::ServerFailure))
    }

    /// Answers a client with an egress policy: what a name stands for can be reached before it is told.
    async fn allowed(
        &self,
        transport: Transport,
        question: &Question,
        query: &[u8],
        client: IpAddr,
    ) -> Vec<u8> {
        let addresses = self.names.find(&question.name, client);
        let (answer, found) = if !addresses.is_empty() {
            (question.answer(query, &addresses), Some(Found { addresses, ttl_s: 0 }))
        } else if let Some(forwarder) = &self.forwarder {
            // Options and further records of a guest could carry data.
            let answer = forwarder.forward(transport, question, &question.bare_query(query)).await;
            let found = answer.as_deref().and_then(|answer| question.addresses(answer));
            // Whoever answers for a name outside does not choose which neighbours are reached.
            let found = found.map(|mut found| {
                found.addresses.retain(|address| !self.names.is_inside(*address));
                found
            });
            (answer.unwrap_or_default(), found)
        } else {
            return question.empty_answer(query, Code::NameError);
        };
        let is_reachable = match found {
            Some(found) => self.names.allow(&question.name, client, found).await,
            None => false,
        };
        if is_reachable { answer } else { question.empty_answer(query, Code::ServerFailure) }
    }
}

async fn serve_datagrams(socket: Arc<UdpSocket>, answers: Arc<Answers>) {
    let mut buffer = vec![0; MAXIMUM_UDP_BYTES];
    loop {
        let (length, sender) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // Errors of earlier answers, such as a container that has gone.
                tracing::debug!("DNS socket: {error}");
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
        };
        let query = &buffer[..length];
        match answers.local(query, sender.ip()) {
            Ok(response) => drop(socket.try_send_to(&response, sender)),
            Err(None) => {}
            Err(Some(question)) => {
                let Some(share) = answers.forwarded.take(sender.ip()) else { continue };
                let (socket, answers, query) = (Arc::clone(&socket), Arc::clone(&answers), query.to_vec());
                tokio::spawn(async move {
                    let response = answers.remote(Transport::Udp, &question, &query, sender.ip()).await;
                    drop(socket.try_send_to(&response, sender));
                    drop(share);
                });
            }
        }
    }
}

async fn serve_connections(listener: TcpListener, answers: Arc<Answers>) {
    let connections = Shares::new(MAXIMUM_CONNECTIONS, MAXIMUM_CONNECTIONS_EACH);
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                let Some(share) = connections.take(client.ip()) else { continue };
                let answers = Arc::clone(&answers);
                tokio::spawn(async move {
                    if let Err(error) = serve_connection(stream, client.ip(), &answers).await {
                        tracing::debug!("DNS connection: {error}");
                    }
                    drop(share);
                });
            }
            Err(error) => {
                tracing::warn!("cannot accept DNS connections: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve_connection(mut stream: TcpStream, client: IpAddr, answers: &Answers) -> io::Result<()> {
    loop {
        let query = timeout(CONNECTION_IDLE_LIMIT, receive(&mut stream)).await??;
        let response = match answers.local(&query, client) {
            Ok(response) => response,
            Err(None) => return Ok(()),
            Err(Some(question)) => answers.remote(Transport::Tcp, &question, &query, client).await,
        };
        timeout(CONNECTION_IDLE_LIMIT, stream.write_all(&framed(&response))).await??;
    }
}

async fn receive(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = usize::from(stream.read_u16().await?);
    if !(HEADER_BYTES..=MAXIMUM_UDP_BYTES).contains(&length) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut query = vec![0; length];
    stream.read_exact(&mut query).await?;
    Ok(query)
}

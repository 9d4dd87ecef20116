//! Names of containers for the containers of the same network; everything else is asked of the
//! host's resolvers.

mod message;
mod upstream;

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use message::{Code, HEADER_BYTES, MAXIMUM_UDP_BYTES, Question, Refusal, response};
use upstream::{Resolvers, Transport, framed};

const PORT: u16 = 53;
/// Queries of one network that wait for resolvers; more are dropped, and guests ask again.
const MAXIMUM_FORWARDED: usize = 256;
/// TCP connections of one network.
const MAXIMUM_CONNECTIONS: usize = 64;
const CONNECTION_IDLE_LIMIT: Duration = Duration::from_secs(10);

/// Finds containers of one network.
pub(crate) trait Names: Send + Sync + 'static {
    /// The addresses behind a name in lower case, as the container with the client's address sees it;
    /// none if it is no container's.
    fn find(&self, name: &str, client: IpAddr) -> Vec<Ipv4Addr>;
}

/// The way to the host's resolvers, shared by all networks.
#[derive(Clone, Debug)]
pub(crate) struct Forwarder {
    resolvers: Arc<Resolvers>,
    host: Handle,
}

impl Forwarder {
    /// `host` runs on a thread in the host's namespace.
    pub(crate) fn new(host: Handle) -> Self {
        Self { resolvers: Arc::default(), host }
    }

    async fn forward(&self, transport: Transport, question: &Question, query: &[u8]) -> Option<Vec<u8>> {
        let resolvers = Arc::clone(&self.resolvers);
        let (question, query) = (question.clone(), query.to_vec());
        let asking = self.host.spawn(async move { resolvers.ask(transport, &question, &query).await });
        asking.await.ok().flatten()
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
    forwarded: Arc<Semaphore>,
}

impl Server {
    /// Listens on the gateway address of a network.
    ///
    /// # Errors
    /// bind(2) failed.
    pub(crate) async fn start(
        gateway: Ipv4Addr,
        names: Box<dyn Names>,
        forwarder: Option<Forwarder>,
    ) -> io::Result<Self> {
        let datagrams = Arc::new(UdpSocket::bind((gateway, PORT)).await?);
        let listener = TcpListener::bind((gateway, PORT)).await?;
        let answers =
            Arc::new(Answers { names, forwarder, forwarded: Arc::new(Semaphore::new(MAXIMUM_FORWARDED)) });
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
        let found = self.names.find(&question.name, client);
        if !found.is_empty() {
            return Ok(question.answer(query, &found));
        }
        match self.forwarder {
            None => Ok(question.empty_answer(query, Code::NameError)),
            Some(_) => Err(Some(question)),
        }
    }

    async fn remote(&self, transport: Transport, question: &Question, query: &[u8]) -> Vec<u8> {
        let forwarded = match &self.forwarder {
            Some(forwarder) => forwarder.forward(transport, question, query).await,
            None => None,
        };
        forwarded.unwrap_or_else(|| question.empty_answer(query, Code::ServerFailure))
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
                let Ok(permit) = Arc::clone(&answers.forwarded).try_acquire_owned() else { continue };
                let (socket, answers, query) = (Arc::clone(&socket), Arc::clone(&answers), query.to_vec());
                tokio::spawn(async move {
                    let response = answers.remote(Transport::Udp, &question, &query).await;
                    drop(socket.try_send_to(&response, sender));
                    drop(permit);
                });
            }
        }
    }
}

async fn serve_connections(listener: TcpListener, answers: Arc<Answers>) {
    let connections = Arc::new(Semaphore::new(MAXIMUM_CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, client)) => {
                let answers = Arc::clone(&answers);
                tokio::spawn(async move {
                    if let Err(error) = serve_connection(stream, client.ip(), &answers).await {
                        tracing::debug!("DNS connection: {error}");
                    }
                    drop(permit);
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
            Err(Some(question)) => answers.remote(Transport::Tcp, &question, &query).await,
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

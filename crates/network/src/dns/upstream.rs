//! Asks the host's resolvers. Everything here runs on a thread in the host's namespace, because the
//! resolver may listen on the host's loopback.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::message::{MAXIMUM_UDP_BYTES, Question};

const CONFIGURATION: &str = "/etc/resolv.conf";
/// As many as the C library uses.
const MAXIMUM_SERVERS: usize = 3;
/// Three tries fit into the 5 s after which guests ask again.
const ATTEMPT_LIMIT: Duration = Duration::from_millis(1600);
const TCP_LIMIT: Duration = Duration::from_secs(5);

/// How a guest asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// The host's resolvers.
#[derive(Debug, Default)]
pub(super) struct Resolvers {
    known: Mutex<(Option<SystemTime>, Vec<SocketAddr>)>,
}

impl Resolvers {
    /// Passes a query on; `None` if no resolver answers in time.
    pub(super) async fn ask(
        &self,
        transport: Transport,
        question: &Question,
        query: &[u8],
    ) -> Option<Vec<u8>> {
        for server in self.servers() {
            let attempt = async {
                match transport {
                    Transport::Udp => timeout(ATTEMPT_LIMIT, ask_udp(server, question, query)).await,
                    Transport::Tcp => timeout(TCP_LIMIT, ask_tcp(server, question, query)).await,
                }
            };
            match attempt.await {
                Ok(Ok(mut response)) => {
                    response[..2].copy_from_slice(&query[..2]);
                    return Some(response);
                }
                Ok(Err(error)) => tracing::debug!(%server, "resolver failed: {error}"),
                Err(_) => tracing::debug!(%server, "resolver did not answer in time"),
            }
        }
        None
    }

    fn servers(&self) -> Vec<SocketAddr> {
        let modified = fs::metadata(CONFIGURATION).and_then(|metadata| metadata.modified()).ok();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != modified || modified.is_none() {
            *known = (modified, parse(&fs::read_to_string(CONFIGURATION).unwrap_or_default()));
        }
        known.1.clone()
    }
}

/// Servers of a resolv.conf(5); the local one if there are none, as the C library does.
fn parse(text: &str) -> Vec<SocketAddr> {
    let mut servers: Vec<SocketAddr> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.split_whitespace().next())
        .filter_map(|address| {
            let socket = format!("[{address}]:53").parse::<SocketAddr>();
            socket.ok().or_else(|| Some(SocketAddr::new(address.parse::<IpAddr>().ok()?, 53)))
        })
        .take(MAXIMUM_SERVERS)
        .collect();
    if servers.is_empty() {
        servers.push((Ipv4Addr::LOCALHOST, 53).into());
    }
    servers
}

/// The query with an id that only the resolver learns; the port is random as well.
fn with_random_id(query: &[u8]) -> io::Result<Vec<u8>> {
    let mut query = query.to_vec();
    rustix::rand::getrandom(&mut query[..2], rustix::rand::GetRandomFlags::empty())?;
    Ok(query)
}

async fn ask_udp(server: SocketAddr, question: &Question, query: &[u8]) -> io::Result<Vec<u8>> {
    let query = with_random_id(query)?;
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    // The kernel drops what comes from others.
    socket.connect(server).await?;
    socket.send(&query).await?;
    let mut buffer = vec![0; MAXIMUM_UDP_BYTES];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let response = &buffer[..length];
        if response.get(..2) == query.get(..2) && question.is_answered_by(response) {
            return Ok(response.to_vec());
        }
    }
}

async fn ask_tcp(server: SocketAddr, question: &Question, query: &[u8]) -> io::Result<Vec<u8>> {
    let query = with_random_id(query)?;
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(&framed(&query)).await?;
    let length = stream.read_u16().await?;
    let mut response = vec![0; length.into()];
    stream.read_exact(&mut response).await?;
    if response.get(..2) == query.get(..2) && question.is_answered_by(&response) {
        Ok(response)
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

/// A message as TCP carries it (RFC 1035, section 4.2.2).
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(&message[..usize::from(length)]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_is_read_like_the_c_library_does() {
        let text = "# comment\nsearch x\nnameserver 127.0.0.53\n  nameserver fe80::1%2 # x\nnameserver ::1\n\
                    nameserver bogus\nnameserver 1.1.1.1\n";
        let servers = parse(text);
        assert_eq!(servers[0], "127.0.0.53:53".parse().unwrap());
        assert_eq!(servers[1], "[fe80::1%2]:53".parse().unwrap());
        assert_eq!(servers.len(), 3);
        assert_eq!(parse(""), ["127.0.0.1:53".parse().unwrap()]);
    }
}

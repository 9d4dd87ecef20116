//! Where a published port leads, and sockets to there.
//!
//! Such a socket bears the client's address where the container can answer it, so that servers see, log and
//! judge who really asks. ip(7), `IP_TRANSPARENT`: the address is nobody's in our namespace. The rules mark
//! what such a socket begins, and what answers that comes back to it instead of going outside
//! ([`crate::firewall`]).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream as StdStream, UdpSocket};
use std::sync::Arc;

use socket2::{Domain, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

use crate::address::is_of_one_host;
use crate::firewall::CLIENTS_MARK;
use crate::subnet::Subnet;
use crate::subnet6::Subnet6;

/// How a container answers addresses that are not of its networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answers {
    /// To its gateway, on the network of the published address; not to what is in its own networks, which
    /// are these.
    ToGateway { own: Vec<Subnet>, own6: Vec<Subnet6> },
    /// Not at all.
    Nowhere,
}

/// Whom the published ports of a container lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Container {
    pub(crate) address: Ipv4Addr,
    /// For clients that come by IPv6.
    pub(crate) address6: Option<Ipv6Addr>,
    pub(crate) answers: Answers,
}

/// One port of a container.
#[derive(Clone, Debug)]
pub(super) struct Target {
    container: Arc<Container>,
    port: u16,
}

impl std::fmt::Display for Target {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.address().fmt(formatter)
    }
}

impl Target {
    pub(super) fn new(port: u16, container: &Arc<Container>) -> Self {
        Self { container: Arc::clone(container), port }
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::new(self.container.address.into(), self.port)
    }

    /// Where a client is led that comes by IPv6, if the container has that as well.
    pub(super) fn address6(&self, client: SocketAddr) -> Option<SocketAddr> {
        let address = self.container.address6.filter(|_| client.is_ipv6());
        address.map(|address| SocketAddr::new(address.into(), self.port))
    }

    /// A connection to it, on behalf of a client.
    pub(super) async fn connect(&self, client: SocketAddr) -> io::Result<TcpStream> {
        if let Some(address) = self.address6(client) {
            match self.connect_to(address, client).await {
                // The server knows IPv4 only.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                outcome => return outcome,
            }
        }
        self.connect_to(self.address(), client).await
    }

    async fn connect_to(&self, address: SocketAddr, client: SocketAddr) -> io::Result<TcpStream> {
        if let Some(client) = self.shown_at(address, client) {
            // By another port where two clients of one address and port came by two ports of the host.
            for port in [client.port(), 0] {
                let Ok(socket) = bound(SocketAddr::new(client.ip(), port), Type::STREAM) else { continue };
                let socket = TcpSocket::from_std_stream(StdStream::from(socket));
                match socket.connect(address).await {
                    Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {}
                    outcome => return outcome,
                }
            }
        }
        TcpStream::connect(address).await
    }

    /// A socket that hears of it alone, on behalf of a client; by IPv6 if that is possible and wanted.
    pub(super) fn exchange(&self, client: SocketAddr, by_ipv6: bool) -> io::Result<UdpSocket> {
        let address = self.address6(client).filter(|_| by_ipv6).unwrap_or(self.address());
        let bound = self.shown_at(address, client).and_then(|client| {
            [client.port(), 0]
                .into_iter()
                .find_map(|port| bound(SocketAddr::new(client.ip(), port), Type::DGRAM).ok())
        });
        let socket = match bound {
            Some(socket) => UdpSocket::from(socket),
            None => UdpSocket::bind((unspecified(address), 0))?,
        };
        heard_of_alone(socket, address)
    }

    /// What is shown of a client at an address of the container.
    fn shown_at(&self, address: SocketAddr, client: SocketAddr) -> Option<SocketAddr> {
        shown(client, &self.container.answers).filter(|client| client.is_ipv4() == address.is_ipv4())
    }
}

fn unspecified(address: SocketAddr) -> IpAddr {
    match address.is_ipv4() {
        true => Ipv4Addr::UNSPECIFIED.into(),
        false => Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn heard_of_alone(socket: UdpSocket, address: SocketAddr) -> io::Result<UdpSocket> {
    socket.set_nonblocking(true)?;
    // The kernel drops what comes from others from now on; what came before is dropped here.
    socket.connect(address)?;
    while socket.recv(&mut [0]).is_ok() {}
    Ok(socket)
}

/// The client's address, if the container can answer it.
fn shown(client: SocketAddr, answers: &Answers) -> Option<SocketAddr> {
    let Answers::ToGateway { own, own6 } = answers else { return None };
    let address = client.ip().to_canonical();
    let is_near = match address {
        IpAddr::V4(address) => own.iter().any(|subnet| subnet.offset(address).is_some()),
        IpAddr::V6(address) => own6.iter().any(|subnet| subnet.contains(address)),
    };
    (is_of_one_host(address) && !is_near).then_some(SocketAddr::new(address, client.port()))
}

/// A socket with an address that is not ours.
fn bound(address: SocketAddr, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind.nonblocking(), None)?;
    match address {
        SocketAddr::V4(_) => socket.set_ip_transparent_v4(true)?,
        SocketAddr::V6(_) => socket.set_ip_transparent_v6(true)?,
    }
    socket.set_mark(CLIENTS_MARK)?;
    if kind == Type::STREAM {
        // Clients come again from the same port before the last connection is forgotten.
        socket.set_reuse_address(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_shown_where_answers_find_back() {
        let own = Answers::ToGateway {
            own: vec!["192.168.64.0/24".parse().unwrap()],
            own6: vec!["fd00:100::/64".parse().unwrap()],
        };
        let address = |text: &str| shown(text.parse().unwrap(), &own).map(|client| client.to_string());
        for text in
            ["203.0.113.7:4000", "192.168.65.1:80", "10.0.0.1:1", "[2001:db8::7]:4000", "[fd00:101::9]:1"]
        {
            assert_eq!(address(text).as_deref(), Some(text));
        }
        assert_eq!(address("[::ffff:203.0.113.7]:4000").as_deref(), Some("203.0.113.7:4000"));
        for text in ["127.0.0.1:1", "192.168.64.9:1", "169.254.1.1:1", "0.0.0.0:1", "224.0.0.1:1"] {
            assert_eq!(address(text), None, "{text}");
        }
        for text in ["[::1]:1", "[fd00:100::9]:1", "[fe80::1%3]:1", "[::]:1", "[ff02::1]:1"] {
            assert_eq!(address(text), None, "{text}");
        }
        for text in ["203.0.113.7:4000", "[2001:db8::7]:4000"] {
            assert_eq!(shown(text.parse().unwrap(), &Answers::Nowhere), None);
        }
    }
}

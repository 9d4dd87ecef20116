//! Where a published port leads, and sockets to there.
//!
//! Such a socket bears the client's address where the container can answer it, so that servers see, log and
//! judge who really asks. ip(7), `IP_TRANSPARENT`: the address is nobody's in our namespace. The rules mark
//! what such a socket begins, and what answers that comes back to it instead of going outside
//! ([`crate::firewall`]).

use std::io;
use std::net::{
    Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, TcpStream as StdStream, UdpSocket,
};
use std::sync::Arc;

use socket2::{Domain, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

use crate::firewall::CLIENTS_MARK;
use crate::subnet::Subnet;

/// How a container answers addresses that are not of its networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answers {
    /// To its gateway, on the network of the published address; not to what is in its own networks, which
    /// are these.
    ToGateway(Vec<Subnet>),
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

    fn address(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.container.address, self.port)
    }

    /// Where a client is led that comes by IPv6, if the container has that as well.
    pub(super) fn address6(&self, client: SocketAddr) -> Option<SocketAddrV6> {
        let address = self.container.address6.filter(|_| client.is_ipv6());
        address.map(|address| SocketAddrV6::new(address, self.port, 0, 0))
    }

    /// A connection to it, on behalf of a client.
    pub(super) async fn connect(&self, client: SocketAddr) -> io::Result<TcpStream> {
        if let Some(address) = self.address6(client) {
            match TcpStream::connect(address).await {
                // The server knows IPv4 only.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                outcome => return outcome,
            }
        }
        if let Some(client) = shown(client, &self.container.answers) {
            // By another port where two clients of one address and port came by two ports of the host.
            for port in [client.port(), 0] {
                let Ok(socket) = bound(SocketAddrV4::new(*client.ip(), port), Type::STREAM) else { continue };
                let socket = TcpSocket::from_std_stream(StdStream::from(socket));
                match socket.connect(self.address().into()).await {
                    Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {}
                    outcome => return outcome,
                }
            }
        }
        TcpStream::connect(self.address()).await
    }

    /// A socket that hears of it alone, on behalf of a client; by IPv6 if that is possible and wanted.
    pub(super) fn exchange(&self, client: SocketAddr, by_ipv6: bool) -> io::Result<UdpSocket> {
        if let Some(address) = self.address6(client).filter(|_| by_ipv6) {
            let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
            return heard_of_alone(socket, address.into());
        }
        let shown = shown(client, &self.container.answers);
        let bound = shown.and_then(|client| {
            [client.port(), 0]
                .into_iter()
                .find_map(|port| bound(SocketAddrV4::new(*client.ip(), port), Type::DGRAM).ok())
        });
        let socket = match bound {
            Some(socket) => UdpSocket::from(socket),
            None => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
        };
        heard_of_alone(socket, self.address().into())
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
fn shown(client: SocketAddr, answers: &Answers) -> Option<SocketAddrV4> {
    let Answers::ToGateway(own) = answers else { return None };
    let SocketAddr::V4(client) = SocketAddr::new(client.ip().to_canonical(), client.port()) else {
        return None;
    };
    let address = client.ip();
    let is_of_one_host = !(address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.octets()[0] == 0);
    let is_foreign = own.iter().all(|subnet| subnet.offset(*address).is_none());
    (is_of_one_host && is_foreign).then_some(client)
}

/// A socket with an address that is not ours.
fn bound(address: SocketAddrV4, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, kind.nonblocking(), None)?;
    socket.set_ip_transparent_v4(true)?;
    socket.set_mark(CLIENTS_MARK)?;
    if kind == Type::STREAM {
        // Clients come again from the same port before the last connection is forgotten.
        socket.set_reuse_address(true)?;
    }
    socket.bind(&SocketAddr::V4(address).into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_shown_where_answers_find_back() {
        let own = Answers::ToGateway(vec![Subnet::new([192, 168, 64, 0].into(), 24).unwrap()]);
        let address = |text: &str| shown(text.parse().unwrap(), &own).map(|client| client.to_string());
        for text in ["203.0.113.7:4000", "192.168.65.1:80", "10.0.0.1:1"] {
            assert_eq!(address(text).as_deref(), Some(text));
        }
        assert_eq!(address("[::ffff:203.0.113.7]:4000").as_deref(), Some("203.0.113.7:4000"));
        for text in
            ["127.0.0.1:1", "192.168.64.9:1", "169.254.1.1:1", "0.0.0.0:1", "[fd00::1]:1", "224.0.0.1:1"]
        {
            assert_eq!(address(text), None, "{text}");
        }
        assert_eq!(shown("203.0.113.7:4000".parse().unwrap(), &Answers::Nowhere), None);
    }
}

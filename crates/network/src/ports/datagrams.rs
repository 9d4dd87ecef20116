//! UDP: each peer of the host's port gets a socket of its own towards the container, so that answers
//! find their way back.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket as StdSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::net::{SendFlags, send, sendto};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// Peers of one port; whoever was silent the longest makes room for the next.
const MAXIMUM_PEERS: usize = 512;
/// A peer that is silent for so long is forgotten; RFC 4787 asks NATs for 120 s.
const IDLE_LIMIT: Duration = Duration::from_secs(120);
/// The longest datagram.
const BUFFER_BYTES: usize = 64 * 1024;
/// After an error that an earlier datagram caused.
const ERROR_PAUSE: Duration = Duration::from_millis(1);

thread_local! {
    /// Datagrams pass through it one at a time: nothing waits while it is borrowed.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER_BYTES]);
}

/// Both directions of the traffic with one peer.
struct Peer {
    socket: Arc<UdpSocket>,
    activity: Arc<Activity>,
    answers: JoinHandle<()>,
}

/// When something was heard last, in milliseconds after the port was published.
struct Activity {
    began: Instant,
    last_ms: AtomicU64,
}

/// The peers of one port.
struct Peers {
    host: Arc<UdpSocket>,
    target: SocketAddrV4,
    began: Instant,
    known: HashMap<SocketAddr, Peer>,
}

/// Forwards until the task is cancelled.
pub(super) async fn serve(socket: OwnedFd, target: SocketAddrV4) {
    let host = match UdpSocket::from_std(StdSocket::from(socket)) {
        Ok(socket) => Arc::new(socket),
        Err(error) => return tracing::error!(%target, "cannot serve a published port: {error}"),
    };
    let mut peers = Peers { host: Arc::clone(&host), target, began: Instant::now(), known: HashMap::new() };
    loop {
        let outcome = match timeout(IDLE_LIMIT, host.readable()).await {
            Ok(outcome) => outcome.and_then(|()| peers.receive()),
            Err(_) => Ok(()),
        };
        if let Err(error) = outcome {
            // An answer that the peer's host refused, or no descriptors.
            tracing::debug!(%target, "published datagrams: {error}");
            tokio::time::sleep(ERROR_PAUSE).await;
        }
        peers.known.retain(|_, peer| !peer.answers.is_finished());
    }
}

impl Peers {
    /// Passes everything on that has arrived.
    fn receive(&mut self) -> io::Result<()> {
        loop {
            let more = BUFFER.with(|buffer| {
                let mut buffer = buffer.borrow_mut();
                let (length, address) = match self.host.try_recv_from(&mut buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                    received => received?,
                };
                self.pass_on(address, &buffer[..length]).map(|()| true)
            })?;
            if !more {
                return Ok(());
            }
        }
    }

    fn pass_on(&mut self, address: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        if !self.known.contains_key(&address) {
            self.make_room();
            let peer = self.open(address)?;
            self.known.insert(address, peer);
        }
        if let Some(peer) = self.known.get(&address) {
            peer.activity.note();
            // A full queue loses datagrams, as on any wire. Not by tokio, for which a new socket cannot
            // be written to before it has been heard of.
            let _lost = send(&peer.socket, datagram, SendFlags::DONTWAIT);
        }
        Ok(())
    }

    fn open(&self, address: SocketAddr) -> io::Result<Peer> {
        let socket = StdSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        // The kernel drops what comes from others.
        socket.connect(self.target)?;
        socket.set_nonblocking(true)?;
        let socket = Arc::new(UdpSocket::from_std(socket)?);
        let activity = Arc::new(Activity { began: self.began, last_ms: AtomicU64::new(0) });
        activity.note();
        let answers = answer(Arc::clone(&self.host), address, Arc::clone(&socket), Arc::clone(&activity));
        Ok(Peer { socket, activity, answers: tokio::spawn(answers) })
    }

    fn make_room(&mut self) {
        if self.known.len() < MAXIMUM_PEERS {
            return;
        }
        let oldest = self.known.iter().min_by_key(|(_, peer)| peer.activity.last_ms.load(Ordering::Relaxed));
        if let Some(oldest) = oldest.map(|(address, _)| *address) {
            self.known.remove(&oldest);
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.answers.abort();
    }
}

impl Activity {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn note(&self) {
        self.last_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// `None` once it has been silent for too long.
    fn time_left(&self) -> Option<Duration> {
        let silent_ms = self.now_ms().saturating_sub(self.last_ms.load(Ordering::Relaxed));
        IDLE_LIMIT.checked_sub(Duration::from_millis(silent_ms)).filter(|left| !left.is_zero())
    }
}

/// Brings the container's datagrams to the peer until both are silent.
async fn answer(host: Arc<UdpSocket>, address: SocketAddr, socket: Arc<UdpSocket>, activity: Arc<Activity>) {
    while let Some(left) = activity.time_left() {
        if timeout(left, socket.readable()).await.is_err() {
            continue;
        }
        let received = BUFFER.with(|buffer| {
            let mut buffer = buffer.borrow_mut();
            let length = socket.try_recv(&mut buffer)?;
            activity.note();
            let _lost = sendto(&host, &buffer[..length], SendFlags::DONTWAIT, &address);
            io::Result::Ok(())
        });
        if received.is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock) {
            // Nobody listens in the container, yet.
            tokio::time::sleep(ERROR_PAUSE).await;
        }
    }
}

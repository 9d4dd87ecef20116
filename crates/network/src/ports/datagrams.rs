//! UDP: each peer of the host's port gets a socket of its own towards the container, so that answers
//! find their way back.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket as StdSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::destination;
use super::target::Target;

/// Peers of all ports of one container; whoever was silent the longest makes room for the next.
const MAXIMUM_PEERS: usize = 1024;
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
#[derive(Debug)]
struct Peer {
    socket: Arc<UdpSocket>,
    activity: Arc<Activity>,
    answers: JoinHandle<()>,
}

/// The peers of all ports of one container.
#[derive(Debug, Default)]
pub(super) struct Room {
    peers: Mutex<HashMap<Place, Peer>>,
    began: OnceLock<Instant>,
}

/// The host's socket, by the number that its task has, who speaks to it, and to which of its addresses.
type Place = (usize, SocketAddr, Option<IpAddr>);

/// When something was heard last, in milliseconds after the container's ports were published.
#[derive(Debug)]
struct Activity {
    began: Instant,
    last_ms: AtomicU64,
}

/// One port.
struct Served {
    host: Arc<UdpSocket>,
    number: usize,
    target: Target,
    room: Arc<Room>,
    ipv6: Arc<Ipv6Way>,
}

/// Whether a container's server listens by IPv6: nobody says so before a datagram is refused.
#[derive(Debug, Default)]
struct Ipv6Way {
    is_refused: AtomicBool,
}

impl Ipv6Way {
    /// The next ones go the other way. It may have been too early: then they come back to this one.
    fn turn_away_from(&self, socket: &UdpSocket) {
        let is_ipv6 = socket.peer_addr().is_ok_and(|address| address.is_ipv6());
        self.is_refused.store(is_ipv6, Ordering::Relaxed);
    }
}

/// Forwards until the task is cancelled. `number` tells the ports of one room apart.
pub(super) async fn serve(socket: OwnedFd, number: usize, target: Target, room: Arc<Room>) {
    let host = match UdpSocket::from_std(StdSocket::from(socket)) {
        Ok(socket) => Arc::new(socket),
        Err(error) => return tracing::error!(%target, "cannot serve a published port: {error}"),
    };
    let served = Served { host: Arc::clone(&host), number, target, room, ipv6: Arc::default() };
    loop {
        let outcome = match timeout(IDLE_LIMIT, host.readable()).await {
            Ok(outcome) => outcome.and_then(|()| served.receive()),
            Err(_) => Ok(()),
        };
        if let Err(error) = outcome {
            // An answer that the peer's host refused, or no descriptors.
            tracing::debug!(target = %served.target, "published datagrams: {error}");
            tokio::time::sleep(ERROR_PAUSE).await;
        }
        served.room.tidy();
    }
}

impl Served {
    /// Passes everything on that has arrived.
    fn receive(&self) -> io::Result<()> {
        loop {
            let more = BUFFER.with(|buffer| {
                let mut buffer = buffer.borrow_mut();
                let received = self
                    .host
                    .try_io(Interest::READABLE, || destination::receive(self.host.as_fd(), &mut buffer));
                let (length, address, to) = match received {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                    received => received?,
                };
                self.pass_on((self.number, address, to), &buffer[..length]).map(|()| true)
            })?;
            if !more {
                return Ok(());
            }
        }
    }

    fn pass_on(&self, place: Place, datagram: &[u8]) -> io::Result<()> {
        let mut peers = self.room.peers();
        if peers.get(&place).is_none_or(|peer| peer.answers.is_finished()) {
            make_room(&mut peers);
            let peer = self.open(place)?;
            peers.insert(place, peer);
        }
        if let Some(peer) = peers.get(&place) {
            peer.activity.note();
            // A full queue loses datagrams, as on any wire. Not by tokio, for which a new socket cannot
            // be written to before it has been heard of.
            let lost = send(&peer.socket, datagram, SendFlags::DONTWAIT);
            if lost == Err(Errno::CONNREFUSED) && self.target.address6(place.1).is_some() {
                self.ipv6.turn_away_from(&peer.socket);
                peers.remove(&place);
            }
        }
        Ok(())
    }

    fn open(&self, place: Place) -> io::Result<Peer> {
        let (_, client, _) = place;
        let by_ipv6 = !self.ipv6.is_refused.load(Ordering::Relaxed);
        let socket = Arc::new(UdpSocket::from_std(self.target.exchange(client, by_ipv6)?)?);
        let activity = Arc::new(Activity { began: self.room.began(), last_ms: AtomicU64::new(0) });
        activity.note();
        let ways = self.target.address6(client).map(|_| Arc::clone(&self.ipv6));
        let host = Arc::downgrade(&self.host);
        let answers = answer(host, place, Arc::clone(&socket), Arc::clone(&activity), ways);
        Ok(Peer { socket, activity, answers: tokio::spawn(answers) })
    }
}

fn make_room(peers: &mut HashMap<Place, Peer>) {
    if peers.len() < MAXIMUM_PEERS {
        return;
    }
    let oldest = peers.iter().min_by_key(|(_, peer)| peer.activity.last_ms.load(Ordering::Relaxed));
    if let Some(oldest) = oldest.map(|(place, _)| *place) {
        peers.remove(&oldest);
    }
}

impl Room {
    fn peers(&self) -> MutexGuard<'_, HashMap<Place, Peer>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn began(&self) -> Instant {
        *self.began.get_or_init(Instant::now)
    }

    /// Forgets who has been silent for too long.
    fn tidy(&self) {
        self.peers().retain(|_, peer| !peer.answers.is_finished());
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

/// Brings the container's datagrams to the peer until both are silent. The host's socket is not kept: its
/// port is free as soon as nobody serves it. Ends when the container refuses and there is another way.
async fn answer(
    host: Weak<UdpSocket>,
    place: Place,
    socket: Arc<UdpSocket>,
    activity: Arc<Activity>,
    ways: Option<Arc<Ipv6Way>>,
) {
    while let Some(left) = activity.time_left() {
        if timeout(left, socket.readable()).await.is_err() {
            continue;
        }
        let Some(host) = host.upgrade() else { return };
        let received = BUFFER.with(|buffer| {
            let mut buffer = buffer.borrow_mut();
            let length = socket.try_recv(&mut buffer)?;
            activity.note();
            let (_, address, from) = place;
            let _lost = destination::send(host.as_fd(), &buffer[..length], address, from);
            io::Result::Ok(())
        });
        drop(host);
        let error =
            received.err().map(|error| error.kind()).filter(|kind| *kind != io::ErrorKind::WouldBlock);
        if error == Some(io::ErrorKind::ConnectionRefused)
            && let Some(ways) = &ways
        {
            return ways.turn_away_from(&socket);
        }
        if error.is_some() {
            // Nobody listens in the container, yet.
            tokio::time::sleep(ERROR_PAUSE).await;
        }
    }
}

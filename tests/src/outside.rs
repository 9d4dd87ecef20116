//! The world outside: a network namespace behind a link of its own.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use rustix::thread::{UnshareFlags, unshare_unsafe};

/// 198.18.0.0/15, for tests between networks (RFC 2544), in blocks of two hosts.
const FIRST_ADDRESS: u32 = 0xc612_0000;
const BLOCKS: u32 = 1 << 15;
/// 2001:2::/48, the same for IPv6 (RFC 5180).
const FIRST_ADDRESS6: u128 = 0x2001_0002 << 96;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Somebody on another network, whom the host reaches over one link. Both go with the value.
#[derive(Debug)]
pub struct Outside {
    host_address: Ipv4Addr,
    address: Ipv4Addr,
    /// Of host and outside, if it was made with these.
    addresses6: Option<(Ipv6Addr, Ipv6Addr)>,
    /// Holds the namespace until the sender is dropped.
    hold: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Outside {
    /// Makes the namespace and runs `serve` in it, with the outside's address to listen on. The value
    /// is there once `serve` has said so through the channel that it gets.
    ///
    /// # Panics
    /// The test does not run as root, or ip(8) fails.
    #[must_use]
    pub fn new(serve: impl FnOnce(Ipv4Addr, mpsc::Sender<()>) + Send + 'static) -> Self {
        Self::make(false, serve)
    }

    /// As [`Self::new`], with IPv6 as well.
    ///
    /// # Panics
    /// As there, and where the host has no IPv6.
    #[must_use]
    pub fn with_ipv6(serve: impl FnOnce(Ipv4Addr, mpsc::Sender<()>) + Send + 'static) -> Self {
        Self::make(true, serve)
    }

    fn make(with_ipv6: bool, serve: impl FnOnce(Ipv4Addr, mpsc::Sender<()>) + Send + 'static) -> Self {
        assert!(rustix::process::geteuid().is_root(), "this test makes network namespaces: run it as root");
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // Tests of other processes run at the same time.
        let block = (std::process::id().wrapping_mul(8).wrapping_add(number) % BLOCKS) * 4;
        let host_address = Ipv4Addr::from(FIRST_ADDRESS + block + 1);
        let address = Ipv4Addr::from(FIRST_ADDRESS + block + 2);
        let address6 = |which: u128| Ipv6Addr::from_bits(FIRST_ADDRESS6 | u128::from(block) << 64 | which);
        let addresses6 = with_ipv6.then(|| (address6(1), address6(2)));
        let (hold, held) = mpsc::channel::<()>();
        let (made, is_made) = mpsc::channel();
        let (go, may_go) = mpsc::channel::<()>();
        let (ready, is_ready) = mpsc::channel();
        let thread = thread::spawn(move || {
            // SAFETY: no descriptor table is unshared.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("network namespace");
            made.send(rustix::thread::gettid().as_raw_nonzero().get()).expect("test");
            may_go.recv().expect("test");
            ip(&["address", "add", &format!("{address}/30"), "dev", "outside"]);
            ip(&["link", "set", "outside", "up"]);
            if let Some((_, address)) = addresses6 {
                ip(&["address", "add", &format!("{address}/64"), "dev", "outside", "nodad"]);
            }
            serve(address, ready);
            // An error is the end that this waits for.
            let _ = held.recv();
        });
        let namespace = is_made.recv().expect("namespace").to_string();
        let link = format!("out{}.{number}", std::process::id());
        ip(&["link", "add", &link, "type", "veth", "peer", "name", "outside", "netns", &namespace]);
        ip(&["address", "add", &format!("{host_address}/30"), "dev", &link]);
        ip(&["link", "set", &link, "up"]);
        if let Some((address, _)) = addresses6 {
            ip(&["address", "add", &format!("{address}/64"), "dev", &link, "nodad"]);
        }
        go.send(()).expect("namespace");
        is_ready.recv().expect("server outside");
        Self { host_address, address, addresses6, hold: Some(hold), thread: Some(thread) }
    }

    /// Where the host appears outside.
    #[must_use]
    pub fn host_address(&self) -> Ipv4Addr {
        self.host_address
    }

    /// Where the outside is reached.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// As [`Self::host_address`] and [`Self::address`], by IPv6.
    ///
    /// # Panics
    /// It was made without.
    #[must_use]
    pub fn addresses6(&self) -> (Ipv6Addr, Ipv6Addr) {
        self.addresses6.expect("an outside with IPv6")
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.hold.take();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !thread::panicking()
        {
            panic!("the server outside failed");
        }
    }
}

pub(crate) fn ip(arguments: &[&str]) {
    let output =
        Command::new("ip").args(arguments).output().expect("ip is missing: apt-get install iproute2");
    assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

//! Another host: an iperf3 server in a network namespace of its own, at the other end of a veth pair.
//! Namespace and devices go with the server's process.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::run;

/// Of RFC 2544's range for benchmarks.
const OUR_ADDRESS: &str = "198.18.255.253/30";
pub(super) const ADDRESS: &str = "198.18.255.254";
const DEVICE: &str = "bench-elsewhere";
const ATTEMPTS: usize = 100;
const PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Elsewhere {
    server: Child,
}

impl Elsewhere {
    pub(super) fn new() -> Result<Self> {
        let server = Command::new("unshare")
            .args(["--net", "iperf3", "--server"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run unshare")?;
        let elsewhere = Self { server };
        let pid = elsewhere.server.id().to_string();
        wait_for_own_namespace(&pid)?;
        ip(&["link", "add", DEVICE, "type", "veth", "peer", "name", "eth0", "netns", &pid])?;
        ip(&["address", "add", OUR_ADDRESS, "dev", DEVICE])?;
        ip(&["link", "set", DEVICE, "up"])?;
        let namespace = format!("--net=/proc/{pid}/ns/net");
        let address = format!("{ADDRESS}/30");
        for words in [
            &["address", "add", &address, "dev", "eth0"][..],
            &["link", "set", "eth0", "up"],
            &["link", "set", "lo", "up"],
        ] {
            run(Command::new("nsenter").args([&namespace, "ip"]).args(words))?;
        }
        Ok(elsewhere)
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        // It has ended already if this fails.
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

/// unshare(1) has done its work.
fn wait_for_own_namespace(pid: &str) -> Result<()> {
    let ours = fs::read_link("/proc/self/ns/net").context("cannot read our network namespace")?;
    for _ in 0..ATTEMPTS {
        let theirs = fs::read_link(format!("/proc/{pid}/ns/net"));
        if theirs.is_ok_and(|theirs| theirs != ours) {
            return Ok(());
        }
        thread::sleep(PAUSE);
    }
    bail!("iperf3 does not start: apt-get install iperf3")
}

fn ip(words: &[&str]) -> Result<()> {
    run(Command::new("ip").args(words)).map(drop)
}

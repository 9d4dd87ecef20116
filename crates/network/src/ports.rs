//! Published ports: ports of the host that lead to containers.
//!
//! The listening sockets are opened on the host's thread, so they and what they accept belong to the
//! host's namespace. They are served on a thread of their own in our namespace, from where containers
//! are reached: bytes are copied between the two, and no rule of the host's firewall is needed. All
//! ports of a container are bound before its machine starts, so that a conflict is known by then. Who
//! comes by IPv6 is led to the container's IPv6 address, if it has one and listens there. The container sees the
//! client's address where it can answer that one.

mod binding;
mod datagrams;
mod destination;
mod streams;
mod target;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use bulkhead_network_control::{Failure, FailureCode, PortRange, Protocol};
use thiserror::Error;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;

use crate::firewall::openings::Opening;
use crate::networks::failure;
use binding::{BindError, Bound};
use datagrams::Room;
use target::Target;
pub(crate) use target::{Answers, Container};

/// Connections of one container at once; more wait in the listeners' queues.
const MAXIMUM_CONNECTIONS: usize = 1024;
/// What numbers of publications are made of.
const NUMBERS: u32 = 0x7fff_ffff;
/// Ports of one container, counted singly.
const MAXIMUM_PORTS: usize = 65_536;

/// Why ports cannot be served.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum PortsError {
    /// No runtime.
    #[error("cannot start the runtime of published ports")]
    Runtime(#[source] io::Error),
    /// No thread.
    #[error("cannot start the thread of published ports")]
    Spawn(#[source] io::Error),
}

/// All published ports.
#[derive(Debug)]
pub(crate) struct Ports {
    /// Runs on a thread in the host's namespace.
    host: Handle,
    /// Runs on a thread in our namespace.
    proxy: Handle,
    published: Mutex<BTreeMap<String, Publication>>,
    /// Ports are bound one request at a time: what another request is about to bind is known then.
    changing: tokio::sync::Mutex<()>,
    news: Notify,
    numbers: AtomicU32,
}

/// The ports of one container.
#[derive(Debug)]
struct Publication {
    /// None of an earlier process or container has it.
    number: u32,
    container: Ipv4Addr,
    ranges: Vec<PortRange>,
    tasks: Vec<JoinHandle<()>>,
}

impl Ports {
    /// To be called in our namespace.
    pub(crate) fn start(host: Handle) -> Result<Self, PortsError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(PortsError::Runtime)?;
        let proxy = runtime.handle().clone();
        thread::Builder::new()
            .name("published".to_owned())
            .spawn(move || runtime.block_on(std::future::pending::<()>()))
            .map_err(PortsError::Spawn)?;
        Ok(Self {
            host,
            proxy,
            published: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
            news: Notify::default(),
            numbers: AtomicU32::new(first_number()),
        })
    }

    /// Returns when ports were published or are not any more.
    pub(crate) async fn changed(&self) {
        self.news.notified().await;
    }

    /// All that are published.
    pub(crate) fn ranges(&self) -> Vec<PortRange> {
        self.published().values().flat_map(|publication| publication.ranges.iter().copied()).collect()
    }

    /// The same, with whom they lead to.
    pub(crate) fn openings(&self) -> Vec<Opening> {
        let published = self.published();
        let opening = |one: &Publication| Opening {
            number: one.number,
            container: one.container,
            ranges: one.ranges.clone(),
        };
        published.values().map(opening).collect()
    }

    fn published(&self) -> MutexGuard<'_, BTreeMap<String, Publication>> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Binds ports that lead to a container: all of them or none.
    pub(crate) async fn publish(
        &self,
        container_id: &str,
        container: Container,
        wanted: &[PortRange],
    ) -> Result<Vec<PortRange>, Failure> {
        check(wanted)?;
        let _one_at_a_time = self.changing.lock().await;
        if let Some(publication) = self.published().get(container_id) {
            // The apiserver was started again.
            if publication.ranges == wanted {
                return Ok(publication.ranges.clone());
            }
            return Err(failure(
                FailureCode::Exists,
                format!(
                    "container '{container_id}' has {} published ports already",
                    publication.ranges.len()
                ),
            ));
        }
        let mut bound = Vec::with_capacity(wanted.len());
        for range in wanted.iter().copied() {
            let binding = self.host.spawn(async move { binding::bind(range) }).await;
            match binding.map_err(|_| failure(FailureCode::System, "container-network is ending"))? {
                Ok(all) => bound.extend(all),
                Err(error) => return Err(self.explain(&error)),
            }
        }
        let ranges: Vec<PortRange> = bound.iter().map(|one| one.range).collect();
        let address = container.address;
        let tasks = self.serve(bound, &Arc::new(container));
        tracing::info!(container = container_id, %address, ports = ranges.len(), "published");
        let number = self.numbers.fetch_add(1, Ordering::Relaxed) & NUMBERS;
        let publication = Publication { number, container: address, ranges: ranges.clone(), tasks };
        self.published().insert(container_id.to_owned(), publication);
        self.news.notify_one();
        Ok(ranges)
    }

    /// All ports of one container, which share what bounds them.
    fn serve(&self, bound: Vec<Bound>, container: &Arc<Container>) -> Vec<JoinHandle<()>> {
        let connections = Arc::new(Semaphore::new(MAXIMUM_CONNECTIONS));
        let room = Arc::new(Room::default());
        let all = bound.into_iter().flat_map(|one| {
            let ports = one.range.container_port..=u16::MAX;
            let targets = ports.map(move |port| Target::new(port, container));
            let protocol = one.range.protocol;
            one.sockets.into_iter().zip(targets).map(move |(socket, target)| (protocol, socket, target))
        });
        let served = all.enumerate().map(|(number, (protocol, socket, target))| match protocol {
            Protocol::Tcp => self.proxy.spawn(streams::serve(socket, target, Arc::clone(&connections))),
            Protocol::Udp => self.proxy.spawn(datagrams::serve(socket, number, target, Arc::clone(&room))),
        });
        served.collect()
    }

    /// Frees the ports of a container and cuts their connections.
    pub(crate) async fn unpublish(&self, container_id: &str) {
        let publication = self.published().remove(container_id);
        if let Some(publication) = publication {
            close(publication.tasks).await;
            // Not before: a program that is started for it would have the sockets for a moment.
            self.news.notify_one();
            tracing::info!(container = container_id, "unpublished");
        }
    }

    /// The ports of a container belong to its new name.
    pub(crate) fn rename(&self, container_id: &str, new_container_id: &str) {
        let mut published = self.published();
        if let Some(publication) = published.remove(container_id) {
            published.insert(new_container_id.to_owned(), publication);
        }
    }

    /// Frees the ports of all others.
    pub(crate) async fn retain(&self, container_ids: &[String]) {
        let others: Vec<String> =
            self.published().keys().filter(|id| !container_ids.contains(id)).cloned().collect();
        for id in others {
            self.unpublish(&id).await;
        }
    }

    /// One line that says who has the port, or what it takes to bind it.
    fn explain(&self, error: &BindError) -> Failure {
        match error {
            BindError::InUse { address, port, protocol } => {
                let published = self.published();
                let holder = published.iter().find(|(_, publication)| {
                    publication.ranges.iter().any(|range| covers(range, *address, *port, *protocol))
                });
                let holder = match holder {
                    Some((id, _)) => format!("published by container '{id}'"),
                    None => "in use by another program of this host".to_owned(),
                };
                failure(
                    FailureCode::InUse,
                    format!(
                        "host port {}/{} is {holder}",
                        std::net::SocketAddr::new(*address, *port),
                        protocol.as_str()
                    ),
                )
            }
            BindError::NoPlace { address, protocol, count } => {
                let ports = match count {
                    1 => "free host port".to_owned(),
                    count => format!("{count} free host ports in a row"),
                };
                failure(FailureCode::InUse, format!("no {ports} at {address}/{}", protocol.as_str()))
            }
            BindError::Privileged { port } => failure(
                FailureCode::PermissionDenied,
                format!(
                    "Permission denied while binding to host port {port}. Binding to ports below 1024 \
                     requires root privileges."
                ),
            ),
            BindError::NoAddress { .. } => failure(FailureCode::InvalidArgument, error.to_string()),
            error => crate::networks::system_failure(error),
        }
    }
}

/// Connections of before this process was started are not to be taken for those of its publications.
fn first_number() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.subsec_nanos() ^ u32::try_from(since.as_secs() & u64::from(NUMBERS)).unwrap_or_default()
}

/// Ends tasks; their sockets are closed afterwards.
async fn close(tasks: Vec<JoinHandle<()>>) {
    for task in &tasks {
        task.abort();
    }
    for task in tasks {
        // Cancelled, which is what was asked for.
        drop(task.await);
    }
}

fn check(wanted: &[PortRange]) -> Result<(), Failure> {
    let fits = |first: u16, count: u16| first.checked_add(count.saturating_sub(1)).is_some();
    let good = wanted.iter().all(|range| {
        range.count > 0
            && range.container_port > 0
            && fits(range.host_port, range.count)
            && fits(range.container_port, range.count)
    });
    if !good {
        return Err(failure(FailureCode::InvalidArgument, "a published range of ports is empty or too long"));
    }
    if wanted.iter().map(|range| usize::from(range.count)).sum::<usize>() > MAXIMUM_PORTS {
        return Err(failure(
            FailureCode::InvalidArgument,
            format!("at most {MAXIMUM_PORTS} ports of a container can be published"),
        ));
    }
    Ok(())
}

/// Whether a published range keeps others from binding this address and port.
fn covers(range: &PortRange, address: IpAddr, port: u16, protocol: Protocol) -> bool {
    let same_address = range.host_address == address
        || range.host_address.is_ipv4() == address.is_ipv4()
            && (range.host_address.is_unspecified() || address.is_unspecified());
    range.protocol == protocol
        && same_address
        && port.checked_sub(range.host_port).is_some_and(|offset| offset < range.count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_port_is_found() {
        let range = PortRange {
            host_address: Ipv4Addr::UNSPECIFIED.into(),
            host_port: 8000,
            container_port: 80,
            protocol: Protocol::Tcp,
            count: 2,
        };
        let local = Ipv4Addr::LOCALHOST.into();
        assert!(covers(&range, local, 8001, Protocol::Tcp));
        assert!(!covers(&range, local, 8002, Protocol::Tcp));
        assert!(!covers(&range, local, 8001, Protocol::Udp));
        assert!(!covers(&range, std::net::Ipv6Addr::LOCALHOST.into(), 8001, Protocol::Tcp));
        assert!(check(&[range]).is_ok());
        assert!(check(&[PortRange { count: 0, ..range }]).is_err());
        assert!(check(&[PortRange { host_port: 65535, ..range }]).is_err());
        assert!(check(&[PortRange { container_port: 0, ..range }]).is_err());
    }
}

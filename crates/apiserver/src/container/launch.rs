//! The start of a container: everything that can be done at once is done at once.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_api::container::ContainerConfiguration;
use bulkhead_api::error::ApiError;
use bulkhead_api::request::{StartRequest, StreamKind};
use bulkhead_paths::{ContainerDirectories, Directories};
use bulkhead_runtime_control::{BoundSockets, DescriptorPurpose, Request};
use bulkhead_state::RunRecord;
use tokio::sync::watch;

use super::actor::Active;
use super::running::Run;
use super::sockets;
use super::specification::{self, Start};
use super::{emulation, init_image};
use crate::error::{failed, from_control, invalid};
use crate::helper_pool::Helper;
use crate::network::{Connected, Interface};
use crate::service::Service;
use crate::volume::Purpose;

/// The helper answers as soon as it has read the request.
const ACCEPT_LIMIT: Duration = Duration::from_secs(20);

/// How to start a container.
#[derive(Debug, Default)]
pub(crate) struct Order {
    pub(crate) descriptors: Vec<(DescriptorPurpose, OwnedFd)>,
    pub(crate) terminal_size: Option<(u16, u16)>,
    /// What lets go of the terminal when it is typed there.
    pub(crate) detach_keys: Vec<u8>,
    /// Keep stdin open although nobody is attached to it.
    pub(crate) interactive: bool,
    pub(crate) ssh_agent_socket: Option<String>,
}

/// A start under way.
#[derive(Debug)]
pub(super) struct Launched {
    pub(super) active: Active,
    pub(super) record: RunRecord,
}

impl Order {
    /// Ties the descriptors that came with a request to what the request says they are.
    pub(crate) fn new(
        request: &StartRequest,
        descriptors: Vec<OwnedFd>,
        terminal: bool,
        interactive: bool,
    ) -> Result<Self, ApiError> {
        // What is written to a terminal is one stream, which somebody without one may want as well.
        let fits = |kind: &StreamKind| match kind {
            StreamKind::Terminal => terminal,
            StreamKind::Stdout => true,
            StreamKind::Stdin | StreamKind::Stderr => !terminal,
        };
        if !request.descriptors.iter().all(fits) || (terminal && request.descriptors.len() > 1) {
            return Err(unfit());
        }
        Self::attached(request, descriptors, interactive)
    }

    /// As [`Self::new`], for a process that exists: its output alone may be wanted, terminal or not.
    pub(crate) fn attached(
        request: &StartRequest,
        descriptors: Vec<OwnedFd>,
        interactive: bool,
    ) -> Result<Self, ApiError> {
        if descriptors.len() != request.descriptors.len() {
            return Err(invalid(format!(
                "the request announces {} descriptors and brings {}",
                request.descriptors.len(),
                descriptors.len()
            )));
        }
        for (index, kind) in request.descriptors.iter().enumerate() {
            if request.descriptors[..index].contains(kind) {
                return Err(unfit());
            }
        }
        sockets::validate_agent(request.ssh_agent_socket.as_deref())?;
        let purposes = request.descriptors.iter().map(|kind| match kind {
            StreamKind::Stdin => DescriptorPurpose::Stdin,
            StreamKind::Stdout => DescriptorPurpose::Stdout,
            StreamKind::Stderr => DescriptorPurpose::Stderr,
            StreamKind::Terminal => DescriptorPurpose::Terminal,
        });
        Ok(Self {
            descriptors: purposes.zip(descriptors).collect(),
            terminal_size: request.terminal_size,
            detach_keys: request.detach_keys.as_ref().map(|keys| keys.bytes().to_vec()).unwrap_or_default(),
            interactive,
            ssh_agent_socket: request.ssh_agent_socket.clone(),
        })
    }

    pub(crate) fn borrowed(&self) -> Vec<(DescriptorPurpose, BorrowedFd<'_>)> {
        self.descriptors.iter().map(|(purpose, descriptor)| (*purpose, descriptor.as_fd())).collect()
    }

    pub(crate) fn stdin(&self) -> bool {
        self.interactive
            || self
                .descriptors
                .iter()
                .any(|(purpose, _)| matches!(purpose, DescriptorPurpose::Stdin | DescriptorPurpose::Terminal))
    }
}

fn unfit() -> ApiError {
    invalid("the descriptors do not fit the process: a terminal, or its streams")
}

/// Starts the VM; on failure everything is released.
pub(super) async fn launch(
    service: &Service,
    configuration: &ContainerConfiguration,
    order: Order,
) -> Result<Launched, ApiError> {
    let outcome = try_launch(service, configuration, &order).await;
    if outcome.is_err() {
        release(service, &configuration.id);
    }
    outcome
}

async fn try_launch(
    service: &Service,
    configuration: &ContainerConfiguration,
    order: &Order,
) -> Result<Launched, ApiError> {
    service.machines.check()?;
    service.volumes.hold(configuration, Purpose::Run)?;
    let began = Instant::now();
    let id = &configuration.id;
    let directories = service.directories.container(id);
    let image = service.images.of_container(configuration)?;
    prepare(&directories).map_err(|error| failed(format!("cannot prepare container '{id}'"), &error))?;
    let disk = directories.writable_disk();
    let durable_directory = directories.durable;
    let (helper, (connected, disk_outcome)) = (
        service.helpers.take().map_err(|error| failed(format!("cannot start container '{id}'"), &error))?,
        tokio::join!(service.networks.connect(configuration), service.disks.ensure(&disk)),
    );
    let prepared = began.elapsed();
    let Connected { interfaces, published_ports } = connected?;
    let is_new = disk_outcome
        .map_err(|error| failed(format!("cannot create the disk of container '{id}'"), &error))?;

    let record = RunRecord {
        helper: helper.process.identity.clone(),
        networks: interfaces
            .iter()
            .zip(&configuration.networks)
            .map(|(interface, wanted)| {
                specification::network_status(&wanted.options.hostname, &interface.lease)
            })
            .collect(),
        published_ports,
        machine: None,
        unresponsive_since: None,
    };
    write_run_record(&run_record_path(&service.directories, id), &record)
        .map_err(|error| failed(format!("cannot prepare container '{id}'"), &error))?;
    // Blocks for some milliseconds, and only those who ask for it.
    let initial_ramdisk =
        tokio::task::block_in_place(|| init_image::write(service, configuration, &durable_directory))?;
    let emulators =
        emulation::emulators(&service.directories, &configuration.platform, configuration.rosetta)?;
    let start = Start {
        initial_ramdisk: initial_ramdisk.as_deref(),
        emulators: &emulators,
        stdin: order.stdin() || configuration.interactive,
        terminal_size: order.terminal_size,
        ssh_agent_socket: order.ssh_agent_socket.as_deref(),
        detach_keys: &order.detach_keys,
    };
    let specification = specification::build(service, configuration, &image, &interfaces, start)?;
    let described = began.elapsed();
    let active = send_start(id, helper, specification, order, &interfaces).await?;
    if is_new && !configuration.auto_remove {
        crate::disk::sync_later(disk);
    }
    tracing::debug!(id, ?prepared, ?described, sent = ?began.elapsed(), "launched");
    Ok(Launched { active, record })
}

pub(super) async fn send_start(
    id: &str,
    helper: Helper,
    specification: bulkhead_runtime_control::RuntimeSpecification,
    order: &Order,
    interfaces: &[Interface],
) -> Result<Active, ApiError> {
    let (end, ended) = watch::channel(None);
    let run = Arc::new(Run::new(helper.connection, helper.process, ended, 1, 1));
    let mut descriptors = order.borrowed();
    descriptors
        .extend(interfaces.iter().map(|interface| (DescriptorPurpose::Network, interface.socket.as_fd())));
    match run.request(Request::Start(Box::new(specification)), &descriptors, ACCEPT_LIMIT).await {
        Ok(_) => Ok(Active { run, events: helper.events, end, starting: None }),
        Err(error) => {
            run.reap_helper().await;
            Err(from_control(id, error))
        }
    }
}

/// Directories, and nothing in them that tells of an earlier run.
fn prepare(directories: &ContainerDirectories) -> io::Result<()> {
    directories.create().map_err(io::Error::other)?;
    remove_if_there(&directories.exit_status())
}

/// Gives back all that a run holds beside its VM, which is gone.
pub(super) fn release(service: &Service, id: &str) {
    let directories = service.directories.container(id);
    service.networks.release(id);
    service.volumes.release(id);
    for outcome in [
        BoundSockets::remove_recorded(&directories.published_sockets()),
        remove_if_there(&run_record_path(&service.directories, id)),
        match std::fs::remove_dir_all(&directories.runtime) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        },
    ] {
        if let Err(error) = outcome {
            tracing::warn!(id, "cannot clean up after a run: {error}");
        }
    }
}

pub(super) fn run_record_path(directories: &Directories, id: &str) -> PathBuf {
    directories.container(id).durable.join("run.json")
}

/// Written before `Start`, so that a helper is never unknown. No fsync: it tells of processes, which
/// a power cut ends too.
pub(super) fn write_run_record(path: &Path, record: &RunRecord) -> io::Result<()> {
    let temporary = path.with_extension("json.tmp");
    std::fs::write(&temporary, serde_json::to_vec(record)?)?;
    std::fs::rename(&temporary, path)
}

/// What [`write_run_record`] left; `None` when there is no run or the file is damaged.
pub(super) fn read_run_record(path: &Path) -> Option<RunRecord> {
    let bytes = std::fs::read(path).ok()?;
    let record = serde_json::from_slice(&bytes);
    record.inspect_err(|error| tracing::warn!("damaged '{}': {error}", path.display())).ok()
}

pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn null() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    fn request(kinds: &[StreamKind]) -> StartRequest {
        StartRequest { descriptors: kinds.to_vec(), ..StartRequest::default() }
    }

    #[test]
    fn descriptors_must_be_what_the_request_says() {
        use StreamKind::{Stderr, Stdin, Stdout, Terminal};
        let order = Order::new(&request(&[Stdin, Stdout]), vec![null(), null()], false, false).unwrap();
        assert!(order.stdin());
        assert!(!Order::new(&request(&[Stderr]), vec![null()], false, false).unwrap().stdin());
        assert!(Order::new(&request(&[]), vec![], false, true).unwrap().stdin());
        assert!(Order::new(&request(&[Stdin]), vec![], false, false).is_err());
        assert!(Order::new(&request(&[]), vec![null()], false, false).is_err());
        assert!(Order::new(&request(&[Stdin, Stdin]), vec![null(), null()], false, false).is_err());
        assert!(Order::new(&request(&[Terminal]), vec![null()], false, false).is_err());
        // Its output alone, for somebody who has no terminal.
        assert!(!Order::new(&request(&[Stdout]), vec![null()], true, false).unwrap().stdin());
        for kinds in [[Stdout, Stderr], [Stdin, Stdout], [Stdout, Terminal]] {
            assert!(Order::new(&request(&kinds), vec![null(), null()], true, false).is_err(), "{kinds:?}");
        }
        assert!(Order::new(&request(&[Terminal]), vec![null()], true, false).is_ok());
    }
}

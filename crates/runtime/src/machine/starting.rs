//! What happens between `Start` and the first input.

use std::os::fd::IntoRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use bulkhead_guest_protocol::messages::host_message;
use bulkhead_guest_protocol::stream::StreamSecret;
use bulkhead_paths::ContainerDirectories;
use bulkhead_runtime_control::{Event, FailureCode, Reply, Request, RuntimeSpecification, Timeline};
use rustix::fs::{Mode, OFlags};

use super::filling::{self, Filling};
use super::heartbeat::Heartbeat;
use super::launch::{Launched, launch};
use super::pending::Pending;
use super::process_table::{ProcessState, ProcessTable};
use super::{BOOT_TIMEOUT, Machine, Phase, START_REQUEST_ID, live_and_end, microseconds, refusal};
use crate::console::Console;
use crate::forwards::{Forwards, PublishedSockets, open_host_sockets};
use crate::input::Input;
use crate::log_writer::LogWriter;
use crate::server::{self, Connections, FIRST_CONNECTION, StartOrder};
use crate::streams::{Client, ClientDescriptors, Shape, Streams};
use crate::{accept, agent, exit, process_setup, translation, watch};

/// Senders wait when the main thread is this far behind: a guest that floods holds up itself.
const INPUT_QUEUE_LENGTH: usize = 256;

/// Runs the container of `order`; the helper has no other purpose.
pub(crate) fn run(control: UnixStream, order: StartOrder) -> Result<()> {
    let received = Instant::now();
    let Request::Start(specification) = order.frame.request else { bail!("the first request was not Start") };
    let specification = *specification;
    let directories = ContainerDirectories {
        durable: anchored(&specification.durable_directory)?,
        runtime: anchored(&specification.runtime_directory)?,
    };
    let mut connections = Connections::default();
    connections.add(FIRST_CONNECTION, control.try_clone().context("cannot copy a descriptor")?);
    connections.subscribe(FIRST_CONNECTION);
    let (clients, networks) = ClientDescriptors::sort(&order.frame.descriptors, order.descriptors);
    // Before there is a second thread.
    let published = PublishedSockets::bind(&specification.published_sockets, directories.published_sockets());
    let launch = || -> Result<(Launched, Arc<Forwards>)> {
        let host_sockets = open_host_sockets(&specification.host_sockets, &specification.folders)?;
        Ok((launch(&specification, networks)?, Forwards::new(host_sockets)))
    };
    let launched = published.and_then(|published| match launch() {
        Ok(launched) => Ok((launched, published)),
        Err(error) => {
            let mut published = published;
            published.remove();
            Err(error)
        }
    });
    let ((launched, forwards), mut published) = match launched {
        Ok(parts) => parts,
        Err(error) => {
            process_setup::log_to(&directories.helper_log());
            connections.reply(FIRST_CONNECTION, order.frame.id, Ok(Reply::Done));
            return fail(&mut connections, &directories, &error);
        }
    };
    let vmm_spawned_us = microseconds(received.elapsed());
    // From here on the guest boots; whatever follows costs nothing as long as it is shorter.
    process_setup::log_to(&directories.helper_log());
    let (sender, inputs) = sync_channel(INPUT_QUEUE_LENGTH);
    let Launched { vmm, devices, connections: guest_connections, console, layers } = launched;
    let set_up = || -> Result<(Arc<Streams>, Console, Receiver<()>)> {
        let console = Console::spawn(console, directories.console_log(), sender.clone())
            .context("cannot start a thread")?;
        let disks_released =
            watch::spawn(vmm.pidfd(), devices, sender.clone()).context("cannot watch the machine monitor")?;
        let streams = expect_streams(&specification, &directories, clients, &sender)?;
        let secret = StreamSecret::new(translation::random_bytes()?);
        let start = translation::start(&specification, layers, forwards.host_sockets(), &secret)?;
        let start = host_message::Request::Start(start);
        let start = agent::encode(START_REQUEST_ID, start).context("the container has too many settings")?;
        accept::spawn(
            guest_connections,
            start,
            filling::locks(&specification),
            secret,
            Arc::clone(&streams),
            Arc::clone(&forwards),
            sender.clone(),
        )
        .context("cannot start a thread")?;
        published.serve(&sender).context("cannot start a thread")?;
        server::listen(&directories.control_socket(), sender.clone())?;
        server::read_requests(FIRST_CONNECTION, control, sender.clone()).context("cannot start a thread")?;
        Ok((streams, console, disks_released))
    };
    let (streams, console, disks_released) = match set_up() {
        Ok(parts) => parts,
        Err(error) => {
            vmm.kill().context("cannot kill the machine monitor")?;
            vmm.wait().context("cannot wait for the machine monitor")?;
            published.remove();
            connections.reply(FIRST_CONNECTION, order.frame.id, Ok(Reply::Done));
            return fail(&mut connections, &directories, &error);
        }
    };
    connections.reply(FIRST_CONNECTION, order.frame.id, Ok(Reply::Done));
    let mut processes = ProcessTable::default();
    processes.set(0, ProcessState::Starting);
    let machine = Machine {
        directories,
        received,
        timeline: Timeline { vmm_spawned_us, ..Timeline::default() },
        kernel_release: String::new(),
        phase: Phase::Booting,
        phase_deadline: Some(received + BOOT_TIMEOUT),
        connections,
        vmm,
        out_of_memory_kills: bulkhead_vmm::out_of_memory_kills(),
        agent: None,
        console,
        streams,
        forwards,
        published,
        last_client: 0,
        processes,
        pending: Pending::default(),
        paused: false,
        heartbeat: Heartbeat::default(),
        filling: Filling::new(received),
        cause: None,
        start_failure: None,
        exit: None,
        exit_saved: false,
        shutdown_request_id: None,
        disks_released,
        specification,
    };
    live_and_end(machine, &inputs)
}

/// A path to the directory that stays true when it is renamed, which happens with its container.
fn anchored(path: &Path) -> Result<PathBuf> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(path, flags, Mode::empty())
        .with_context(|| format!("cannot open '{}'", path.display()))?;
    // Open as long as this process lives, as everything else about its container is.
    Ok(format!("/proc/self/fd/{}", directory.into_raw_fd()).into())
}

fn expect_streams(
    specification: &RuntimeSpecification,
    directories: &ContainerDirectories,
    clients: ClientDescriptors,
    sender: &SyncSender<Input>,
) -> Result<Arc<Streams>> {
    let process = &specification.process;
    let path = directories.log();
    // What vminitd does itself is no output of the container.
    let log = match process.built_in {
        Some(_) => None,
        None if specification.log_limits.maximum_files == 0 => None,
        None => Some(Arc::new(
            LogWriter::open(&path, specification.log_limits)
                .with_context(|| format!("cannot open log '{}'", path.display()))?,
        )),
    };
    let streams = Streams::new(sender.clone());
    let shape = Shape { terminal: process.terminal, stdin: process.stdin };
    let keys = process.detach_keys.clone();
    let client = Client { number: 0, descriptors: clients, detach_keys: keys };
    streams.expect(0, shape, client, log.as_ref()).context("cannot prepare the streams")?;
    Ok(streams)
}

/// Nothing has started, so there is nothing to end.
fn fail(
    connections: &mut Connections,
    directories: &ContainerDirectories,
    error: &anyhow::Error,
) -> Result<()> {
    tracing::error!("cannot start the machine: {error:#}");
    let failure = refusal(FailureCode::VmFailed, format!("{error:#}"));
    let status = exit::of_failed_start(&failure);
    connections.announce(&Event::StartFailed(failure));
    let saved = exit::save(&status, &directories.exit_status(), true);
    connections.announce(&Event::Stopped { status });
    saved.context("cannot save the exit status")
}

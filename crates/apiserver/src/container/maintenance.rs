//! A machine for the files of a stopped container: its disks, volumes and folders, no network, and of the
//! container's own nothing that runs. The work is the first process of such a run and ends it.
//!
//! The helper locks the disk as for any run, so that there are never two machines on it. Logs and exit
//! status go to a directory of their own, which is removed afterwards.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bulkhead_api::container::{ContainerConfiguration, Mount};
use bulkhead_api::error::{ApiError, ErrorCode};
use bulkhead_paths::Directories;
use bulkhead_runtime_control::{BuiltIn, Event, ProcessSpecification};
use bulkhead_state::{ExitRecord, RunRecord};
use tokio::time::Instant;

use super::actor::{Active, StartReply, exit_record};
use super::covered::{self, Visible};
use super::identity::HelperProcess;
use super::launch::{self, Order};
use super::mounts;
use super::running::{End, lost_exit};
use super::specification::{self, Start};
use crate::error::{failed, from_failure, timed_out};
use crate::service::Service;
use crate::volume::Purpose;

/// As for any start.
const START_LIMIT: Duration = Duration::from_secs(90);
/// From SIGKILL to the end of a helper.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// A maintenance under way.
#[derive(Debug)]
pub(super) struct Maintenance {
    active: Active,
    reply: Option<StartReply>,
    failure: Option<ApiError>,
    deadline: Option<Instant>,
    exit: Option<ExitRecord>,
}

impl Maintenance {
    /// `reply` is answered when the work has begun.
    pub(super) fn new(active: Active, reply: StartReply) -> Self {
        Self::of(active, Some(reply))
    }

    /// What [`begin_filling`] began; nobody but [`Self::filled`] tells of it.
    pub(super) fn of_filling(active: Active) -> Self {
        Self::of(active, None)
    }

    fn of(active: Active, reply: Option<StartReply>) -> Self {
        let deadline = Some(Instant::now() + START_LIMIT);
        Self { active, reply, failure: None, deadline, exit: None }
    }

    /// Ends it, whatever it was about to do.
    pub(super) fn abort(&self) {
        let run = Arc::clone(&self.active.run);
        tokio::spawn(async move { run.kill(true).await });
    }

    /// Everything is released: tells those who wait for it.
    pub(super) fn finish(self) {
        if let Some(reply) = self.reply {
            let failure = self.failure.unwrap_or_else(|| failed_start(self.exit.as_ref()));
            drop(reply.send(Err(failure)));
        }
        let exit = self.exit.unwrap_or_else(|| lost_exit("runtime helper lost"));
        self.active.end.send_replace(Some(End { exit, restarts: false }));
    }

    /// As [`Self::finish`], of one that was to fill volumes.
    pub(super) fn filled(mut self, id: &str) -> Result<(), ApiError> {
        let exit = self.exit.take().unwrap_or_else(|| lost_exit("runtime helper lost"));
        let outcome = match (self.failure.take(), exit.exit_code) {
            (Some(failure), _) => Err(failure),
            (None, 0) => Ok(()),
            (None, _) => {
                let reason = exit.reason.as_deref().unwrap_or("its machine ended");
                let message = format!("the new volumes of container '{id}' were not filled: {reason}");
                Err(ApiError::new(ErrorCode::InternalError, message))
            }
        };
        self.active.end.send_replace(Some(End { exit, restarts: false }));
        outcome
    }

    async fn event(&mut self) -> Option<Event> {
        loop {
            let Some(deadline) = self.deadline else { return self.active.events.recv().await };
            if let Ok(event) = tokio::time::timeout_at(deadline, self.active.events.recv()).await {
                return event;
            }
            self.deadline = None;
            self.failure.get_or_insert_with(|| {
                timed_out(format!("the machine did not start within {} s", START_LIMIT.as_secs()))
            });
            let run = Arc::clone(&self.active.run);
            tokio::spawn(async move { run.kill(false).await });
        }
    }
}

/// Follows a maintenance; ready when its machine is gone.
pub(super) async fn ended(maintenance: Option<&mut Maintenance>) {
    let Some(maintenance) = maintenance else { return std::future::pending().await };
    loop {
        match maintenance.event().await {
            Some(Event::Started { .. }) => {
                maintenance.deadline = None;
                if let Some(reply) = maintenance.reply.take() {
                    drop(reply.send(Ok(Arc::clone(&maintenance.active.run))));
                }
            }
            Some(Event::Progress) => {
                maintenance.deadline = maintenance.deadline.map(|_| Instant::now() + START_LIMIT);
            }
            Some(Event::StartFailed(failure)) => {
                maintenance.failure.get_or_insert(from_failure(failure));
            }
            Some(
                Event::ProcessExited { .. }
                | Event::Detached { .. }
                | Event::Paused { .. }
                | Event::Responsiveness { .. },
            ) => {}
            Some(Event::Stopped { status }) => {
                maintenance.exit = Some(exit_record(status));
                return;
            }
            None => {
                maintenance.active.run.reap_helper().await;
                return;
            }
        }
    }
}

/// Boots the machine for a work of [`visible`] mounts; on failure everything is released.
pub(super) async fn launch(
    service: &Service,
    configuration: &ContainerConfiguration,
    work: BuiltIn,
    order: Order,
) -> Result<Active, ApiError> {
    let visible = visible(service, configuration, &work)?;
    boot(service, configuration, visible, work, order, Purpose::Copy).await
}

/// What the work is to see; refuses what is about mounts that are not there.
pub(super) fn visible(
    service: &Service,
    configuration: &ContainerConfiguration,
    work: &BuiltIn,
) -> Result<Visible, ApiError> {
    let (id, all) = (&configuration.id, &configuration.mounts);
    let holder = |name: &str| service.volumes.holder(name);
    covered::check(id, all, holder, work)?;
    Ok(Visible::of(id, all, holder, work))
}

/// Boots the machine that fills those new volumes in `mounts` that the container has for reading only, if there
/// are any: what writes to them is never its own. `purpose` is that of what follows: who waits for a copy waits
/// for what comes before it.
pub(super) async fn begin_filling(
    service: &Service,
    configuration: &ContainerConfiguration,
    mounts: &[Mount],
    purpose: Purpose,
) -> Result<Option<Active>, ApiError> {
    if !mounts.iter().any(mounts::is_read_only) {
        return Ok(None);
    }
    let mounts = mounts::to_be_filled_first(mounts, &service.volumes.mounted(mounts));
    if mounts.is_empty() {
        return Ok(None);
    }
    let visible = Visible { mounts, covered: Vec::new() };
    let (work, order) = (BuiltIn::FillVolumes, Order::default());
    boot(service, configuration, visible, work, order, purpose).await.map(Some)
}

async fn boot(
    service: &Service,
    configuration: &ContainerConfiguration,
    visible: Visible,
    work: BuiltIn,
    order: Order,
    purpose: Purpose,
) -> Result<Active, ApiError> {
    let outcome = try_launch(service, configuration, visible, work, &order, purpose).await;
    if outcome.is_err() {
        clean_up(service, &configuration.id);
        service.volumes.release(&configuration.id);
    }
    outcome
}

async fn try_launch(
    service: &Service,
    configuration: &ContainerConfiguration,
    visible: Visible,
    work: BuiltIn,
    order: &Order,
    purpose: Purpose,
) -> Result<Active, ApiError> {
    service.machines.check()?;
    let id = &configuration.id;
    // What the container may only read, its own kernel is not to have for writing.
    let (kernel, kernel_arguments) = match work {
        BuiltIn::FillVolumes => (None, Vec::new()),
        _ => (configuration.kernel.clone(), configuration.kernel_arguments.clone()),
    };
    // Whomever it knows, and whoever is to reach it, is of no interest.
    let bare = ContainerConfiguration {
        kernel,
        kernel_arguments,
        mounts: visible.mounts,
        published_sockets: Vec::new(),
        extra_hosts: Vec::new(),
        dns: None,
        ..configuration.clone()
    };
    service.volumes.hold(&bare, purpose)?;
    let unprepared = |error: &(dyn std::error::Error + 'static)| {
        failed(format!("cannot reach the files of container '{id}'"), error)
    };
    let directories = service.directories.container(id);
    let scratch = directories.maintenance();
    let image = service.images.of_container(configuration)?;
    directories.create().and_then(|()| scratch.create()).map_err(|error| unprepared(&error))?;
    let helper = service.helpers.take().map_err(|error| unprepared(&error))?;
    let is_new = service
        .disks
        .ensure(&directories.writable_disk())
        .await
        .map_err(|error| failed(format!("cannot create the disk of container '{id}'"), &error))?;
    let record = RunRecord {
        helper: helper.process.identity.clone(),
        networks: Vec::new(),
        published_ports: Vec::new(),
        machine: None,
        unresponsive_since: None,
    };
    launch::write_run_record(&record_path(&service.directories, id), &record)
        .map_err(|error| unprepared(&error))?;
    // Our own init, whatever the container asks for: only it has the built-in work.
    let start = Start {
        initial_ramdisk: None,
        emulators: &[],
        stdin: false,
        terminal_size: None,
        ssh_agent_socket: None,
        detach_keys: &[],
    };
    let mut specification = specification::build(service, &bare, &image, &[], start)?;
    specification.durable_directory = scratch.durable;
    specification.process = ProcessSpecification::of_built_in(work);
    specification.masked_paths = Vec::new();
    specification.covered_paths = visible.covered;
    specification.dns = None;
    specification.discard_disk = false;
    let active = launch::send_start(id, helper, specification, order, &[]).await?;
    if is_new {
        crate::disk::sync_later(directories.writable_disk());
    }
    Ok(active)
}

/// Removes every trace of a maintenance whose machine is gone; what it held of volumes is the caller's to release.
pub(super) fn clean_up(service: &Service, id: &str) {
    let directories = service.directories.container(id).maintenance();
    for outcome in [
        remove_directory(&directories.durable),
        remove_directory(&directories.runtime),
        launch::remove_if_there(&record_path(&service.directories, id)),
    ] {
        if let Err(error) = outcome {
            tracing::warn!(id, "cannot clean up after maintenance: {error}");
        }
    }
}

/// Ends a maintenance of an earlier apiserver: whoever asked for it went with that.
pub(super) async fn recover(service: &Service, id: &str) {
    let path = record_path(&service.directories, id);
    if !path.exists() {
        return;
    }
    let record = launch::read_run_record(&path);
    if let Some(process) = record.and_then(|record| HelperProcess::find(&record.helper)) {
        tracing::info!(id, pid = process.identity.pid, "ending an orphaned maintenance");
        process.kill();
        process.wait(KILL_LIMIT).await;
    }
    clean_up(service, id);
}

fn record_path(directories: &Directories, id: &str) -> PathBuf {
    directories.container(id).durable.join("maintenance.json")
}

fn remove_directory(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

fn failed_start(exit: Option<&ExitRecord>) -> ApiError {
    let reason = exit.and_then(|exit| exit.reason.as_deref()).unwrap_or("its machine ended");
    ApiError::new(
        ErrorCode::InternalError,
        format!("the machine for the container's files did not start: {reason}"),
    )
}

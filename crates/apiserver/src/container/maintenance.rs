//! A machine for the files of a stopped container: its disks, volumes and folders, no network, and of the
//! container's own nothing that runs. The work is the first process of such a run and ends it.
//!
//! The helper locks the disk as for any run, so that there are never two machines on it. Logs and exit
//! status go to a directory of their own, which is removed afterwards.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bulkhead_api::container::ContainerConfiguration;
use bulkhead_api::error::{ApiError, ErrorCode};
use bulkhead_paths::Directories;
use bulkhead_runtime_control::{BuiltIn, Event, ProcessSpecification};
use bulkhead_state::{ExitRecord, RunRecord};
use tokio::sync::oneshot;
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
        let deadline = Some(Instant::now() + START_LIMIT);
        Self { active, reply: Some(reply), failure: None, deadline, exit: None }
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

/// Boots the machine, unless the work is about mounts that it cannot have; on failure everything is released.
pub(super) async fn launch(
    service: &Service,
    configuration: &ContainerConfiguration,
    work: BuiltIn,
    order: Order,
) -> Result<Active, ApiError> {
    let (id, all) = (&configuration.id, &configuration.mounts);
    let holder = |name: &str| service.volumes.holder(name);
    covered::check(id, all, holder, &work)?;
    let visible = Visible::of(id, all, holder, &work);
    if !visible.mounts.is_empty() {
        let with_these = ContainerConfiguration { mounts: visible.mounts.clone(), ..configuration.clone() };
        fill_volumes(service, &with_these).await?;
    }
    boot(service, configuration, visible, work, order).await
}

/// Fills new volumes that the container has for reading only: what writes to them is never its own.
pub(super) async fn fill_volumes(
    service: &Service,
    configuration: &ContainerConfiguration,
) -> Result<(), ApiError> {
    if !configuration.mounts.iter().any(mounts::is_read_only) {
        return Ok(());
    }
    let volumes = service.volumes.mounted(&configuration.mounts);
    let mounts = mounts::to_be_filled_first(&configuration.mounts, &volumes);
    if mounts.is_empty() {
        return Ok(());
    }
    let visible = Visible { mounts, covered: Vec::new() };
    let active = boot(service, configuration, visible, BuiltIn::FillVolumes, Order::default()).await?;
    let (reply, started) = oneshot::channel();
    let mut maintenance = Maintenance::new(active, reply);
    ended(Some(&mut maintenance)).await;
    release(service, &configuration.id);
    let exit_code = maintenance.exit.as_ref().map(|exit| exit.exit_code);
    maintenance.finish();
    match started.await {
        Ok(Err(error)) => Err(error),
        Ok(Ok(_)) if exit_code == Some(0) => Ok(()),
        _ => {
            let id = &configuration.id;
            Err(ApiError::new(
                ErrorCode::InternalError,
                format!("the machine that was to fill the volumes of container '{id}' has ended"),
            ))
        }
    }
}

async fn boot(
    service: &Service,
    configuration: &ContainerConfiguration,
    visible: Visible,
    work: BuiltIn,
    order: Order,
) -> Result<Active, ApiError> {
    let outcome = try_launch(service, configuration, visible, work, &order).await;
    if outcome.is_err() {
        release(service, &configuration.id);
    }
    outcome
}

async fn try_launch(
    service: &Service,
    configuration: &ContainerConfiguration,
    visible: Visible,
    work: BuiltIn,
    order: &Order,
) -> Result<Active, ApiError> {
    service.machines.check()?;
    let id = &configuration.id;
    // Whomever it knows, and whoever is to reach it, is of no interest.
    let bare = ContainerConfiguration {
        mounts: visible.mounts,
        published_sockets: Vec::new(),
        extra_hosts: Vec::new(),
        dns: None,
        ..configuration.clone()
    };
    service.volumes.hold(&bare)?;
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

/// Removes every trace of a maintenance whose machine is gone.
pub(super) fn release(service: &Service, id: &str) {
    let directories = service.directories.container(id).maintenance();
    service.volumes.release(id);
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
    release(service, id);
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

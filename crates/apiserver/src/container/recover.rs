//! The state of the world at the start of the apiserver, after whatever ended the last one.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_runtime_control::{Connection, GENERATION, Reply, Request, RuntimeState};
use bulkhead_state::{Change, ContainerRecord, Quarantined, RunRecord};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::actor::{Active, Starting, exit_of_lost_run, tell_helper};
use super::identity::HelperProcess;
use super::running::Run;
use super::{delete, launch, maintenance, rename, restart};
use crate::error::printable;
use crate::service::Service;
use crate::trash;
use crate::volume::Purpose;

/// A live helper answers at once.
const ADOPTION_LIMIT: Duration = Duration::from_secs(2);

/// Takes over running containers, settles those that ended meanwhile, sweeps what belongs to nobody.
pub(crate) async fn all(
    service: &Arc<Service>,
    mut records: Vec<ContainerRecord>,
    quarantined: &[Quarantined],
) {
    let mut known: HashSet<String> = records.iter().map(|record| record.configuration.id.clone()).collect();
    known.extend(quarantined.iter().map(|row| row.key.clone()));
    for record in &mut records {
        forget_finished_renaming(service, record, &known);
    }
    known.extend(records.iter().filter_map(|record| record.state.renamed_from.clone()));
    let mut tasks = JoinSet::new();
    for record in records {
        let service = Arc::clone(service);
        tasks.spawn(async move { one(&service, record).await });
    }
    for orphan in unknown_entries(service, &known) {
        let service = Arc::clone(service);
        tasks.spawn(async move { sweep(&service, &orphan).await });
    }
    while tasks.join_next().await.is_some() {}
    for container in service.containers.all() {
        let status = container.status();
        if let (Some(_), Some(run)) = (status.run, status.record.run) {
            service.networks.hold(&container.configuration, &run);
        }
    }
    service.networks.settle().await;
    for container in service.containers.all() {
        let status = container.status();
        if status.run.is_none()
            && restart::starts_with_service(container.configuration.restart_policy, &status.record)
        {
            container.resume();
        }
    }
}

/// A name is given to somebody else only after all that had it was renamed: what the record says is old then, for it
/// was never written that this is done.
fn forget_finished_renaming(service: &Service, record: &mut ContainerRecord, known: &HashSet<String>) {
    let Some(old) = record.state.renamed_from.take_if(|old| known.contains(old)) else { return };
    let id = record.configuration.id.clone();
    tracing::info!(id, old, "a container was renamed before, and its old name belongs to another");
    let change = Change::SetContainerState { id, state: Box::new(record.state.clone()) };
    drop(service.records.submit(change));
}

async fn one(service: &Arc<Service>, record: ContainerRecord) {
    let ContainerRecord { configuration, mut state } = record;
    let id = configuration.id.clone();
    if let Some(old) = state.renamed_from.take() {
        match rename::directories(&service.directories, &old, &id) {
            Ok(()) => {
                tracing::info!(id, old, "completed the renaming of a container");
                service.networks.expect_renaming(&old, &configuration);
            }
            Err(error) => {
                // Under the new name it would get somebody else's disk, or none; its own is kept.
                tracing::error!(id, old, "a container is left out: {error}");
                service.volumes.adopt(&configuration);
                return;
            }
        }
        let change = Change::SetContainerState { id: id.clone(), state: Box::new(state.clone()) };
        drop(service.records.submit(change));
    }
    let run = launch::read_run_record(&launch::run_record_path(&service.directories, &id))
        .or_else(|| state.run.clone());
    let was_started = run.is_some() || state.exit.is_some();
    let lives = run.as_ref().is_some_and(|run| HelperProcess::find(&run.helper).is_some());
    if was_started && !lives && is_missing(&service.directories.container(&id).durable) {
        // A removal takes the files away first; this one was interrupted before its record was gone.
        tracing::info!(id, "completed the removal of a container");
        launch::release(service, &id);
        drop(service.records.submit(Change::DeleteContainer { id }));
        return;
    }
    let mut active = None;
    maintenance::recover(service, &id).await;
    if let Some(run) = run {
        if let Some(process) = HelperProcess::find(&run.helper) {
            active = adopt(service, &id, process).await;
        }
        if let Some((_, unresponsive_since)) = &active {
            tracing::info!(id, "took over a running container");
            // The record in the database knows more than run.json, if it is of the same run.
            if state.run.as_ref().is_none_or(|known| known.helper != run.helper) {
                state.run = Some(run);
            }
            if let Some(run) = &mut state.run {
                run.unresponsive_since.clone_from(unresponsive_since);
            }
        } else {
            let exit = exit_of_lost_run(&service.directories, &id);
            tracing::info!(id, exit_code = exit.exit_code, "a container ended while nobody watched");
            launch::release(service, &id);
            state.run = None;
            state.exit = Some(exit);
            if configuration.auto_remove {
                if let Err(error) = delete::discard_files(&service.directories, &id) {
                    tracing::error!(id, "{error}");
                }
                drop(service.records.submit(Change::DeleteContainer { id }));
                return;
            }
            let change = Change::SetContainerState { id: id.clone(), state: Box::new(state.clone()) };
            drop(service.records.submit(change));
        }
    }
    let active = active.map(|(active, _)| active);
    service.volumes.adopt(&configuration);
    if active.is_some()
        && let Err(error) = service.volumes.hold(&configuration, Purpose::Run)
    {
        tracing::error!(id, "a running container has a volume that it should not have: {error}");
    }
    if let Err(error) = service.containers.insert(service, configuration, state, active) {
        tracing::error!(id, "cannot load container: {error}");
    }
}

/// Connects to a live helper; also returns since when its guest does not answer. One that does not
/// answer itself is ended: two helpers of one container must never be.
async fn adopt(service: &Service, id: &str, process: HelperProcess) -> Option<(Active, Option<String>)> {
    let path = service.directories.container(id).control_socket();
    let subscribed = tokio::time::timeout(ADOPTION_LIMIT, async {
        let (connection, events) = Connection::connect(&path).await?;
        let reply = connection.request(Request::Subscribe, &[]).await?;
        Ok::<_, bulkhead_runtime_control::ControlError>((connection, events, reply))
    })
    .await;
    let (connection, events, status) = match subscribed {
        // By its name it may not have been told yet that it has another one.
        Ok(Ok((connection, events, Reply::Status(status)))) if status.helper_pid == process.identity.pid => {
            (connection, events, status)
        }
        outcome => {
            let reason = match outcome {
                Ok(Err(error)) => error.to_string(),
                Ok(Ok(_)) => "it serves another container".to_owned(),
                Err(_) => "it does not answer".to_owned(),
            };
            // On its way out it has closed its socket and still lives for an instant.
            if !process.wait(ADOPTION_LIMIT).await {
                tracing::warn!(id, pid = process.identity.pid, "ending a runtime helper: {reason}");
                process.kill();
                process.wait(ADOPTION_LIMIT).await;
            }
            return None;
        }
    };
    if status.state == RuntimeState::Stopped {
        if !process.wait(ADOPTION_LIMIT).await {
            process.kill();
            process.wait(ADOPTION_LIMIT).await;
        }
        return None;
    }
    if status.generation != GENERATION {
        tracing::warn!(id, generation = status.generation, "the runtime helper is of another version");
    }
    let first_process = status.processes.iter().max().copied().unwrap_or(0).saturating_add(1);
    let (end, ended) = watch::channel(None);
    let first_client = status.last_client.saturating_add(1);
    let run = Arc::new(Run::new(connection, process, ended, first_process, first_client));
    run.set_paused(status.paused);
    if status.container_id != id {
        tell_helper(&run, id).await;
    }
    let starting = (status.state == RuntimeState::Starting).then(Starting::new);
    let unresponsive_since = status.unresponsive_since.as_deref().map(printable);
    Some((Active { run, events, end, starting }, unresponsive_since))
}

/// Directories of containers that were never recorded, or whose removal was interrupted.
fn unknown_entries(service: &Service, known: &HashSet<String>) -> Vec<String> {
    let entries = match std::fs::read_dir(service.directories.containers()) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::warn!("cannot look for left-over containers: {error}");
            return Vec::new();
        }
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !known.contains(name))
        .collect()
}

fn is_missing(path: &Path) -> bool {
    matches!(path.symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

async fn sweep(service: &Service, name: &str) {
    if !trash::is_trash(name) {
        tracing::info!(name, "removing a container that was never completely created");
        let record = launch::run_record_path(&service.directories, name);
        let run: Option<RunRecord> = launch::read_run_record(&record);
        if let Some(process) = run.and_then(|run| HelperProcess::find(&run.helper)) {
            process.kill();
            process.wait(ADOPTION_LIMIT).await;
        }
        launch::release(service, name);
        // Out of the way before anybody can ask for a container of that name.
        if let Err(error) = delete::discard_files(&service.directories, name) {
            tracing::error!(name, "{error}");
        }
        return;
    }
    let path = service.directories.containers().join(name);
    tokio::task::spawn_blocking(move || trash::unlink(&path));
}

//! The state machine, driven through the control protocol.

use std::sync::Arc;

use bulkhead_api::container::ContainerState;
use bulkhead_api::error::ErrorCode;
use bulkhead_api::request::StopRequest;
use bulkhead_descriptor_passing::asynchronous;
use bulkhead_runtime_control::{Connection, ExitReason, ExitStatus, Message, Reply, Request, RequestFrame};
use bulkhead_state::{ContainerRecord, HelperIdentity, RunRecord};
use tempfile::TempDir;
use tokio::net::UnixStream;

use super::super::identity::{self, HelperProcess};
use super::super::registry::Container;
use super::*;
use crate::service::testing;

mod before_a_run;

/// The other end of a container's control connection, and the process that stands for its helper.
struct Peer {
    socket: UnixStream,
    process: tokio::process::Child,
}

impl Peer {
    async fn tell(&self, event: Event) {
        asynchronous::send(&self.socket, &Message::Event(event), &[]).await.unwrap();
    }

    /// Receives a request and grants it.
    async fn grant(&self) -> Request {
        let frame = asynchronous::receive::<RequestFrame>(&self.socket).await.unwrap().unwrap().message;
        let message = Message::Reply { id: frame.id, result: Ok(Reply::Done) };
        asynchronous::send(&self.socket, &message, &[]).await.unwrap();
        frame.request
    }
}

fn configuration(id: &str, auto_remove: bool) -> ContainerConfiguration {
    serde_json::from_value(serde_json::json!({
        "id": id,
        "image": {"reference": "docker.io/library/a:latest", "descriptor":
            {"mediaType": "m", "digest": format!("sha256:{}", "0".repeat(64)), "size": 1}},
        "mounts": [], "publishedPorts": [], "publishedSockets": [], "labels": {}, "sysctls": {},
        "networks": [],
        "initProcess": {"executable": "/bin/true", "arguments": [], "environment": [],
            "workingDirectory": "/", "terminal": false, "user": {"id": {"uid": 0, "gid": 0}},
            "supplementalGroups": [], "rlimits": []},
        "platform": {"os": "linux", "architecture": "amd64"},
        "resources": {"cpus": 4, "memoryInBytes": 1 << 30, "cpuOverhead": 1},
        "runtimeHandler": "container-runtime-linux", "rosetta": false, "virtualization": false,
        "ssh": false, "readOnly": false, "useInit": false, "capAdd": [], "capDrop": [],
        "creationDate": "2026-01-01T00:00:00Z", "autoRemove": auto_remove
    }))
    .unwrap()
}

fn exit_status(exit_code: i32) -> ExitStatus {
    ExitStatus {
        exit_code,
        signal: None,
        out_of_memory: false,
        reason: ExitReason::ProcessExited,
        message: None,
        finished_date: "2026-01-01T00:00:02Z".to_owned(),
    }
}

/// A container that runs, as recovery would insert it.
async fn running(service: &Arc<Service>, auto_remove: bool) -> (Arc<Container>, Peer) {
    inserted(service, auto_remove, None).await
}

async fn inserted(
    service: &Arc<Service>,
    auto_remove: bool,
    starting: Option<Starting>,
) -> (Arc<Container>, Peer) {
    let configuration = configuration("web", auto_remove);
    let process = tokio::process::Command::new("/bin/sleep").arg("60").kill_on_drop(true).spawn().unwrap();
    let identity = identity::of(process.id().unwrap()).unwrap();
    let run = RunRecord {
        helper: identity.clone(),
        networks: Vec::new(),
        published_ports: Vec::new(),
        machine: None,
        unresponsive_since: None,
    };
    let state = StateRecord { run: Some(run), ..StateRecord::default() };
    let record = ContainerRecord { configuration: configuration.clone(), state: state.clone() };
    service.records.submit(Change::PutContainer(Box::new(record))).wait().await.unwrap();
    service.directories.container("web").create().unwrap();
    let (socket, ours) = UnixStream::pair().unwrap();
    let (connection, events) = Connection::over(ours);
    let (end, ended) = watch::channel(None);
    let run = Arc::new(Run::new(connection, HelperProcess::find(&identity).unwrap(), ended, 1, 1));
    let active = Active { run, events, end, starting };
    let container = service.containers.insert(service, configuration, state, Some(active)).unwrap();
    (container, Peer { socket, process })
}

fn temporary() -> (TempDir, Arc<Service>) {
    let folder = tempfile::tempdir().unwrap();
    let (service, _) = testing::service(folder.path());
    (folder, service)
}

#[tokio::test]
async fn f57_a_hundred_waiters_hear_the_exit_code() {
    let (_folder, service) = temporary();
    let (container, peer) = running(&service, false).await;
    let run = container.running().await.unwrap();
    let waiters: Vec<_> = (0..100)
        .map(|_| {
            let run = Arc::clone(&run);
            tokio::spawn(async move { run.ended().await.exit_code })
        })
        .collect();
    peer.tell(Event::ProcessExited { number: 0, status: exit_status(42) }).await;
    peer.tell(Event::Stopped { status: exit_status(42) }).await;
    for waiter in waiters {
        assert_eq!(waiter.await.unwrap(), 42);
    }
    assert_eq!(run.ended().await.exit_code, 42);
    let status = container.snapshot().status;
    assert_eq!((status.state, status.exit_code), (ContainerState::Stopped, Some(42)));
    assert!(container.running().await.is_err());
    assert!(service.containers.contains("web"));
}

#[tokio::test]
async fn f6_a_lost_helper_ends_the_container_with_137() {
    let (_folder, service) = temporary();
    let (container, mut peer) = running(&service, false).await;
    let run = container.running().await.unwrap();
    drop(peer.socket);
    let exit = run.ended().await;
    assert_eq!((exit.exit_code, exit.reason.as_deref()), (137, Some("runtime helper lost")));
    // It was alive, only its socket was gone: it must not live on beside the next run's helper.
    assert!(!peer.process.wait().await.unwrap().success());
}

#[tokio::test]
async fn f7_the_status_that_the_helper_left_is_exact() {
    let (_folder, service) = temporary();
    let (container, peer) = running(&service, false).await;
    let run = container.running().await.unwrap();
    exit_status(7).persist(&service.directories.container("web").exit_status()).unwrap();
    drop(peer.socket);
    assert_eq!(run.ended().await.exit_code, 7);
}

#[tokio::test]
async fn the_name_is_free_when_an_auto_removed_container_has_ended() {
    let (_folder, service) = temporary();
    let (container, peer) = running(&service, true).await;
    let run = container.running().await.unwrap();
    peer.tell(Event::Stopped { status: exit_status(0) }).await;
    assert_eq!(run.ended().await.exit_code, 0);
    assert!(!service.containers.contains("web"));
    assert!(!service.directories.container("web").durable.exists());
    assert_eq!(container.delete(false).await.unwrap_err().code, ErrorCode::NotFound);
    service.containers.insert(&service, configuration("web", false), StateRecord::default(), None).unwrap();
}

#[tokio::test]
async fn f51_only_force_deletes_a_running_container() {
    let (folder, service) = temporary();
    let (container, peer) = running(&service, false).await;
    assert_eq!(container.delete(false).await.unwrap_err().code, ErrorCode::InvalidState);
    let twice = [Arc::clone(&container), container]
        .map(|container| tokio::spawn(async move { container.delete(true).await }));
    assert_eq!(peer.grant().await, Request::Kill);
    peer.tell(Event::Stopped { status: exit_status(137) }).await;
    for deletion in twice {
        deletion.await.unwrap().unwrap();
    }
    assert!(!service.containers.contains("web"));
    service.records.close();
    assert!(testing::records(folder.path()).1.containers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn stop_asks_first_and_kills_after_the_timeout() {
    let (_folder, service) = temporary();
    let (container, peer) = running(&service, false).await;
    let stopping = Arc::clone(&container);
    let stop = tokio::spawn(async move { stopping.stop(&StopRequest::default()).await });
    assert_eq!(peer.grant().await, Request::Signal { number: 0, signal: 15 });
    assert_eq!(peer.grant().await, Request::Signal { number: 0, signal: 9 });
    assert_eq!(container.snapshot().status.state, ContainerState::Stopping);
    peer.tell(Event::Stopped { status: exit_status(137) }).await;
    stop.await.unwrap().unwrap();
    container.stop(&StopRequest::default()).await.unwrap();
    assert_eq!(container.kill("KILL").await.unwrap_err().code, ErrorCode::InvalidState);
}

#[tokio::test(start_paused = true)]
async fn f10_a_start_without_end_is_ended_by_stop_and_kill() {
    for kills in [false, true] {
        let (_folder, service) = temporary();
        let (container, peer) = inserted(&service, false, Some(Starting::new())).await;
        let (starting, ending) = (Arc::clone(&container), Arc::clone(&container));
        let start = tokio::spawn(async move { starting.start(Order::default()).await.map(drop) });
        let end = tokio::spawn(async move {
            if kills { ending.kill("KILL").await } else { ending.stop(&StopRequest::default()).await }
        });
        // Its guest tells that it goes on and on.
        peer.tell(Event::Progress).await;
        while peer.grant().await != Request::Kill {}
        peer.tell(Event::Stopped { status: exit_status(137) }).await;
        end.await.unwrap().unwrap();
        assert_eq!(container.status().phase, Phase::Stopped);
        let told = start.await.unwrap().unwrap_err();
        assert!(told.message.contains("was stopped while it started"), "{told}");
    }
}

#[tokio::test]
async fn a_name_that_was_given_away_is_not_renamed_again() {
    let folder = tempfile::tempdir().unwrap();
    let directories = testing::directories(folder.path());
    let (records, _) = testing::records(folder.path());
    for (id, renamed_from) in [("new", Some("old".to_owned())), ("old", None)] {
        let state = StateRecord { renamed_from, ..StateRecord::default() };
        let record = ContainerRecord { configuration: configuration(id, false), state };
        records.submit(Change::PutContainer(Box::new(record))).wait().await.unwrap();
        directories.container(id).create().unwrap();
        std::fs::write(directories.container(id).durable.join("whose"), id).unwrap();
    }
    records.close();
    let (service, contents) = testing::service(folder.path());
    super::super::recover::all(&service, contents.containers, &[]).await;
    for id in ["new", "old"] {
        assert!(service.containers.contains(id), "{id}");
        let whose = std::fs::read_to_string(directories.container(id).durable.join("whose"));
        assert_eq!(whose.unwrap(), id);
    }
    service.records.close();
    let (_, contents) = testing::records(folder.path());
    assert!(contents.containers.iter().all(|record| record.state.renamed_from.is_none()));
}

#[tokio::test]
async fn f50_one_of_fifty_creates_of_a_name_wins() {
    let (_folder, service) = temporary();
    let attempts: Vec<_> = (0..50)
        .map(|_| {
            let service = Arc::clone(&service);
            tokio::spawn(async move {
                let record = StateRecord::default();
                service.containers.insert(&service, configuration("web", false), record, None)
            })
        })
        .collect();
    let mut won = 0;
    for attempt in attempts {
        match attempt.await.unwrap() {
            Ok(_) => won += 1,
            Err(error) => assert_eq!(error.code, ErrorCode::Exists),
        }
    }
    assert_eq!(won, 1);
}

#[tokio::test]
async fn a_failed_start_leaves_the_container_stopped_or_removes_it() {
    let (_folder, service) = temporary();
    let insert = |auto_remove| {
        let configuration = configuration("web", auto_remove);
        service.containers.insert(&service, configuration, StateRecord::default(), None).unwrap()
    };
    let container = insert(false);
    container.start(Order::default()).await.unwrap_err();
    assert_eq!(container.status().phase, Phase::Stopped);
    assert!(!service.directories.container("web").runtime.exists());
    container.delete(false).await.unwrap();
    insert(true).start(Order::default()).await.unwrap_err();
    assert!(!service.containers.contains("web"));
}

#[tokio::test]
async fn f4_what_ended_while_nobody_watched_is_settled_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let directories = testing::directories(folder.path());
    let (records, _) = testing::records(folder.path());
    let dead = HelperIdentity { pid: std::process::id(), start_time_ticks: 1, boot_id: "earlier".to_owned() };
    let run = RunRecord {
        helper: dead,
        networks: Vec::new(),
        published_ports: Vec::new(),
        machine: None,
        unresponsive_since: None,
    };
    let state = StateRecord { run: Some(run.clone()), ..StateRecord::default() };
    for (id, auto_remove) in [("kept", false), ("lost", false), ("gone", true)] {
        let record = ContainerRecord { configuration: configuration(id, auto_remove), state: state.clone() };
        records.submit(Change::PutContainer(Box::new(record))).wait().await.unwrap();
        directories.container(id).create().unwrap();
    }
    let kept = directories.container("kept");
    exit_status(3).persist(&kept.exit_status()).unwrap();
    let orphan = directories.container("orphan").durable;
    std::fs::create_dir(&orphan).unwrap();
    std::fs::write(orphan.join("run.json"), serde_json::to_vec(&run).unwrap()).unwrap();
    records.close();

    let (service, contents) = testing::service(folder.path());
    super::super::recover::all(&service, contents.containers, &[]).await;
    let code = |id: &str| service.containers.find(id).unwrap().snapshot().status.exit_code;
    assert_eq!(code("kept"), Some(3));
    assert_eq!(code("lost"), Some(137));
    assert!(!service.containers.contains("gone"));
    service.records.close();
    let (_, contents) = testing::records(folder.path());
    assert_eq!(contents.containers.len(), 2);
    assert!(contents.containers.iter().all(|record| record.state.run.is_none()));
    for _ in 0..100 {
        if !orphan.exists() && !service.directories.container("gone").durable.exists() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("left-over directories were not swept");
}

//! The database as the apiserver uses it.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::sync::mpsc;

use bulkhead_api::container::{ContainerConfiguration, Descriptor};
use bulkhead_state::{Change, ContainerRecord, Database, ExitRecord, ImageRecord, StateError, StateRecord};

fn configuration(id: &str) -> ContainerConfiguration {
    serde_json::from_value(serde_json::json!({
        "id": id,
        "image": {"reference": "docker.io/library/a:latest",
            "descriptor": {"mediaType": "m", "digest": "sha256:0", "size": 1}},
        "mounts": [], "publishedPorts": [], "publishedSockets": [], "labels": {}, "sysctls": {},
        "networks": [],
        "initProcess": {"executable": "/bin/true", "arguments": [], "environment": [],
            "workingDirectory": "/", "terminal": false, "user": {"id": {"uid": 0, "gid": 0}},
            "supplementalGroups": [], "rlimits": []},
        "platform": {"os": "linux", "architecture": "amd64"},
        "resources": {"cpus": 4, "memoryInBytes": 1, "cpuOverhead": 1},
        "runtimeHandler": "container-runtime-linux", "rosetta": false, "virtualization": false,
        "ssh": false, "readOnly": false, "useInit": false, "capAdd": [], "capDrop": [],
        "creationDate": "2026-01-01T00:00:00Z"
    }))
    .unwrap()
}

fn record(id: &str) -> ContainerRecord {
    ContainerRecord { configuration: configuration(id), state: StateRecord::default() }
}

fn submit(database: &Database, change: Change) -> Result<(), StateError> {
    let (sender, receiver) = mpsc::channel();
    database.submit(change, move |outcome| sender.send(outcome).unwrap());
    receiver.recv().unwrap()
}

#[test]
fn records_survive_closing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.sqlite");
    let (database, contents) = Database::open(&path).unwrap();
    assert!(contents.containers.is_empty());
    submit(&database, Change::PutContainer(Box::new(record("first")))).unwrap();
    submit(&database, Change::PutContainer(Box::new(record("second")))).unwrap();
    let exit = ExitRecord {
        exit_code: 3,
        finished_date: "2026-01-01T00:00:01Z".to_owned(),
        oom_killed: false,
        reason: None,
    };
    let state = StateRecord { exit: Some(exit), ..StateRecord::default() };
    submit(&database, Change::SetContainerState { id: "first".to_owned(), state: Box::new(state.clone()) })
        .unwrap();
    submit(&database, Change::DeleteContainer { id: "second".to_owned() }).unwrap();
    let image = ImageRecord {
        reference: "docker.io/library/a:latest".to_owned(),
        descriptor: Descriptor {
            media_type: "m".to_owned(),
            digest: "sha256:0".to_owned(),
            size: 1,
            urls: None,
            annotations: None,
            platform: None,
            artifact_type: None,
        },
        creation_date: "2026-01-01T00:00:00Z".to_owned(),
    };
    submit(&database, Change::PutImage(Box::new(image.clone()))).unwrap();
    drop(database);
    let (_database, contents) = Database::open(&path).unwrap();
    assert_eq!(contents.containers, [ContainerRecord { configuration: configuration("first"), state }]);
    assert_eq!(contents.images, [image]);
}

#[test]
fn closing_writes_what_was_submitted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.sqlite");
    let (database, _) = Database::open(&path).unwrap();
    for number in 0..500 {
        database.submit(Change::PutContainer(Box::new(record(&format!("container-{number}")))), |_| {});
    }
    drop(database);
    let (_database, contents) = Database::open(&path).unwrap();
    assert_eq!(contents.containers.len(), 500);
}

#[test]
fn f24_a_damaged_row_is_set_aside_and_the_others_load() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.sqlite");
    let (database, _) = Database::open(&path).unwrap();
    for id in ["good", "bad", "renamed"] {
        submit(&database, Change::PutContainer(Box::new(record(id)))).unwrap();
    }
    drop(database);
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute("UPDATE containers SET configuration = '{\"id' WHERE id = 'bad'", []).unwrap();
    connection.execute("UPDATE containers SET id = 'other' WHERE id = 'renamed'", []).unwrap();
    drop(connection);
    for _ in 0..2 {
        let (_database, contents) = Database::open(&path).unwrap();
        let ids: Vec<&str> =
            contents.containers.iter().map(|record| record.configuration.id.as_str()).collect();
        assert_eq!(ids, ["good"]);
        let keys: Vec<&str> = contents.quarantined.iter().map(|row| row.key.as_str()).collect();
        assert_eq!(keys, ["bad", "other"]);
    }
}

#[test]
fn a_newer_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.sqlite");
    drop(Database::open(&path).unwrap());
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    assert!(matches!(Database::open(&path), Err(StateError::Newer { found: 99, .. })));
}

#[test]
fn garbage_is_no_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.sqlite");
    std::fs::write(&path, vec![b'x'; 8192]).unwrap();
    assert!(matches!(Database::open(&path), Err(StateError::Open { .. })));
}

//! Volumes that several running containers have at once.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use bulkhead_tests::{Installation, wait_until};
use serde_json::Value;

fn content(installation: &Installation) -> PathBuf {
    installation.folder().join("app/volumes/data/content")
}

fn create(installation: &Installation) {
    installation.run_ok(&["volume", "create", "--opt", "type=shared", "--label", "a=b", "data"]);
}

fn start(installation: &Installation, name: &str, image: &str) {
    installation.run_ok(&["run", "-d", "--name", name, "-v", "data:/d", image, "sleep", "600"]);
}

#[test]
fn several_containers_have_it_at_once_and_it_stays_as_long_as_one_does() {
    let installation = Installation::with_demo();
    create(&installation);
    let text = installation.run_ok(&["volume", "inspect", "data"]);
    let volume = serde_json::from_str::<Value>(&text).expect("JSON")[0]["configuration"].take();
    assert_eq!(volume["format"], "virtiofs");
    assert_eq!(volume["options"]["type"], "shared");
    assert_eq!(volume["source"], content(&installation).to_str().unwrap());
    assert_eq!(volume.get("sizeInBytes"), None);
    assert!(installation.run_ok(&["volume", "ls"]).contains("type=shared"));

    start(&installation, "one", "demo");
    start(&installation, "two", "demo");
    let script = "echo from one > /d/file; chown 1234:77 /d/file; chmod 4750 /d/file; sync";
    installation.run_ok(&["exec", "one", "sh", "-c", script]);
    let shown = installation.run_ok(&["exec", "two", "sh", "-c", "cat /d/file; stat -c '%u %g %a' /d/file"]);
    assert_eq!(shown, "from one\n1234 77 4750");
    // Its programs have rights that users of the host must not take.
    assert_eq!(content(&installation).parent().unwrap().metadata().unwrap().mode() & 0o777, 0o700);
    // Read-only for one of them.
    let script = "cat /d/file; echo no > /d/file";
    let reader = installation.container(&["run", "--rm", "-v", "data:/d:ro", "demo", "sh", "-c", script]);
    assert_eq!(reader.text(), "from one\n", "{reader:?}");
    assert!(reader.stderr.contains("Read-only"), "{reader:?}");

    let script = "dd if=/dev/zero of=/d/big bs=1M count=32 2>/dev/null; sync";
    installation.run_ok(&["exec", "two", "sh", "-c", script]);
    let usage = installation.run_ok(&["system", "df", "--format", "json"]);
    let usage: Value = serde_json::from_str(&usage).expect("JSON");
    let bytes = usage["volumes"]["sizeInBytes"].as_u64().unwrap();
    assert!(((32 << 20)..(33 << 20)).contains(&bytes), "{usage}");

    let refused = installation.container(&["volume", "delete", "data"]).expect_code(1);
    assert!(refused.stderr.contains("in use by container"), "{refused:?}");
    assert_eq!(installation.run_ok(&["volume", "prune"]), "");
    installation.run_ok(&["delete", "--force", "one"]);
    assert_eq!(installation.container(&["volume", "delete", "data"]).code, 1);
    assert_eq!(installation.run_ok(&["exec", "two", "cat", "/d/file"]), "from one");
    installation.run_ok(&["delete", "--force", "two"]);
    let pruned = installation.container(&["volume", "prune"]);
    assert_eq!(pruned.text(), "data\n", "{pruned:?}");
    assert!(pruned.stderr.contains("Reclaimed 33."), "{pruned:?}");
    wait_until("the directory is gone", || {
        fs::read_dir(installation.folder().join("app/volumes")).is_ok_and(|mut left| left.next().is_none())
    });
}

#[test]
fn locks_keep_containers_apart_and_end_with_their_machine() {
    // Which has flock(1).
    let installation = Installation::with_debian();
    create(&installation);
    for name in ["one", "two"] {
        start(&installation, name, "debian:test");
    }
    installation.run_ok(&["exec", "one", "sh", "-c", "echo 0 > /d/count; sync"]);
    let script = "i=0; while [ $i -lt 60 ]; do \
                  flock /d/lock sh -c 'n=$(cat /d/count); echo $((n+1)) > /d/count'; i=$((i+1)); done";
    std::thread::scope(|scope| {
        for name in ["one", "two"] {
            scope.spawn(|| installation.run_ok(&["exec", name, "sh", "-c", script]));
        }
    });
    assert_eq!(installation.run_ok(&["exec", "two", "cat", "/d/count"]), "120");

    // A holder that dies.
    let script = "flock /d/lock sh -c 'echo taken > /d/taken; sync; sleep 600'";
    installation.run_ok(&["exec", "-d", "one", "sh", "-c", script]);
    wait_until("one has the lock", || content(&installation).join("taken").exists());
    let busy = installation.container(&["exec", "two", "flock", "-n", "/d/lock", "true"]);
    assert_eq!(busy.code, 1, "{busy:?}");
    // The host is kept out as well.
    let lock = fs::File::open(content(&installation).join("lock")).unwrap();
    assert!(lock.try_lock().is_err());
    let pid = installation.snapshot("one")["status"]["machine"]["pid"].as_i64().unwrap();
    installation.kill(i32::try_from(pid).unwrap());
    wait_until("stopped", || installation.state("one") == "stopped");
    installation.run_ok(&["exec", "two", "flock", "/d/lock", "cat", "/d/taken"]);
    lock.lock().unwrap();
    assert_eq!(installation.container(&["exec", "two", "flock", "-n", "/d/lock", "true"]).code, 1);
    lock.unlock().unwrap();
    installation.run_ok(&["exec", "two", "flock", "-n", "/d/lock", "true"]);
    // The one that died comes back to what is there.
    installation.run_ok(&["start", "one"]);
    assert_eq!(installation.run_ok(&["exec", "one", "cat", "/d/count"]), "120");
}

#[test]
fn f94_options_that_make_no_sense_are_refused_and_links_lead_nowhere() {
    let installation = Installation::with_demo();
    for options in [["type=nfs", "type=nfs"], ["type=shared", "size=1g"], ["type=shared", "journal=ordered"]]
    {
        let words = ["volume", "create", "--opt", options[0], "--opt", options[1], "data"];
        let outcome = installation.container(&words).expect_code(1);
        assert!(outcome.stderr.contains("invalidArgument"), "{outcome:?}");
    }
    assert_eq!(installation.container(&["volume", "ls", "-q"]).stdout, b"");
    create(&installation);
    let secret = installation.folder().join("secret");
    fs::write(&secret, "secret\n").unwrap();
    let folder = installation.folder().to_str().unwrap().to_owned();
    let script = format!(
        "ln -s {folder} /d/out; ln -s / /d/root; ln -s ../../../../secret /d/up; \
         i=0; cd /d; while [ $i -lt 300 ]; do mkdir deep; cd deep; i=$((i+1)); done; \
         cat /d/out/secret /d/up /d/root{folder}/secret; mknod /d/disk b 8 0"
    );
    let outcome = installation.container(&[
        "run",
        "--rm",
        "--privileged",
        "-v",
        "data:/d",
        "demo",
        "sh",
        "-c",
        &script,
    ]);
    assert!(!outcome.text().contains("secret"), "{outcome:?}");
    assert!(!content(&installation).join("disk").exists());
    installation.run_ok(&["volume", "delete", "data"]);
    wait_until("the directory is gone", || {
        fs::read_dir(installation.folder().join("app/volumes")).is_ok_and(|mut left| left.next().is_none())
    });
    assert_eq!(fs::read_to_string(&secret).unwrap(), "secret\n");
}

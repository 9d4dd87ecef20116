//! Volumes: disks that outlive containers.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use bulkhead_tests::{Installation, wait_until};
use serde_json::Value;

fn disk(installation: &Installation, name: &str) -> PathBuf {
    installation.folder().join("app/volumes").join(name).join("volume.img")
}

fn names(installation: &Installation) -> Vec<String> {
    installation.run_ok(&["volume", "list", "--quiet"]).lines().map(str::to_owned).collect()
}

/// The next command starts another one.
fn kill_apiserver(installation: &Installation) {
    for pid in installation.pids("container-apiserver") {
        installation.kill(pid);
    }
    wait_until("the apiserver is gone", || installation.pids("container-apiserver").is_empty());
}

fn inspect(installation: &Installation, name: &str) -> Value {
    let text = installation.run_ok(&["volume", "inspect", name]);
    serde_json::from_str::<Value>(&text).expect("JSON")[0].take()
}

#[test]
fn a_volume_is_created_shown_and_deleted() {
    let installation = Installation::with_demo();
    assert_eq!(installation.container(&["volume", "list", "-q"]).stdout, b"");
    let created = installation.run_ok(&[
        "volume",
        "create",
        "--label",
        "a=b",
        "--opt",
        "journal=journal:4m",
        "-s",
        "100m",
        "data",
    ]);
    assert_eq!(created, "data");
    let volume = inspect(&installation, "data");
    let configuration = &volume["configuration"];
    assert_eq!(volume["id"], "data");
    assert_eq!(configuration["name"], "data");
    assert_eq!(configuration["driver"], "local");
    assert_eq!(configuration["format"], "ext4");
    assert_eq!(configuration["labels"]["a"], "b");
    assert_eq!(configuration["options"]["journal"], "journal:4m");
    assert_eq!(configuration["sizeInBytes"], 100 << 20);
    assert_eq!(configuration["source"], disk(&installation, "data").to_str().unwrap());
    let table = installation.run_ok(&["volume", "ls"]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["NAME", "TYPE", "DRIVER", "OPTIONS"]);
    assert!(lines[1].starts_with("data  named  local   journal=journal:4m,size=104857600"), "{table}");

    let again = installation.container(&["volume", "create", "data"]).expect_code(1);
    assert!(again.stderr.contains("exists: \"volume 'data' already exists\""), "{again:?}");
    let mounts =
        installation.run_ok(&["run", "--rm", "-v", "data:/d", "demo", "grep", " /d ", "/proc/mounts"]);
    assert!(mounts.contains("data=journal"), "{mounts}");
    assert_eq!(installation.run_ok(&["volume", "rm", "data"]), "data");
    let gone = installation.container(&["volume", "inspect", "data"]).expect_code(1);
    assert!(gone.stderr.contains("notFound"), "{gone:?}");
    wait_until("the disk is gone", || {
        fs::read_dir(installation.folder().join("app/volumes")).is_ok_and(|mut left| left.next().is_none())
    });
}

#[test]
fn f94_bad_names_and_options_are_refused_and_leave_nothing() {
    let installation = Installation::with_demo();
    for name in ["..", "a/b", "-x", ".x", "a b", &"x".repeat(256)] {
        let outcome = installation.container(&["volume", "create", "--", name]);
        assert_eq!(outcome.code, 64, "{name:?}: {outcome:?}");
    }
    for option in ["size=1k", "size=big", "journal=none", "colour=red"] {
        let outcome = installation.container(&["volume", "create", "--opt", option, "data"]).expect_code(1);
        assert!(outcome.stderr.contains("invalidArgument"), "{outcome:?}");
    }
    let outcome = installation.container(&["volume", "create", "--opt", "journal=ordered:9t", "data"]);
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert!(outcome.stderr.contains("mke2fs"), "{outcome:?}");
    assert!(names(&installation).is_empty());
    assert!(!disk(&installation, "data").exists());
    assert_eq!(installation.container(&["volume", "rm"]).code, 1);
    assert_eq!(installation.container(&["volume", "rm", "missing"]).code, 1);
}

#[test]
fn data_outlives_containers_and_the_apiserver() {
    let installation = Installation::with_demo();
    let first = installation.container(&[
        "run",
        "--rm",
        "-v",
        "data:/data",
        "demo",
        "sh",
        "-c",
        "ls -A /data; echo one > /data/file",
    ]);
    assert_eq!((first.code, first.text().as_str()), (0, ""), "no lost+found: {first:?}");
    assert!(first.stderr.contains("volume 'data' did not exist and is created"), "{first:?}");
    kill_apiserver(&installation);
    let mount = "type=volume,source=data,target=/elsewhere";
    assert_eq!(
        installation.run_ok(&["run", "--rm", "--mount", mount, "demo", "cat", "/elsewhere/file"]),
        "one"
    );
    assert_eq!(names(&installation), ["data"]);
    let metadata = fs::metadata(disk(&installation, "data")).unwrap();
    assert_eq!(metadata.len(), 512 << 30);
    assert!(metadata.blocks() * 512 < 8 << 20, "sparse: {} blocks", metadata.blocks());
}

#[test]
fn read_only_mounts_refuse_writes_whatever_their_root_tries() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "--rm", "-v", "data:/data", "demo", "sh", "-c", "echo one > /data/file"]);
    let script = "cat /data/file; echo two > /data/file || mount -o remount,rw /data || echo refused; \
                  dd if=/dev/zero of=/dev/vdc bs=4096 count=1 2>/dev/null || echo refused";
    let outcome = installation.container(&[
        "run",
        "--rm",
        "--privileged",
        "-v",
        "data:/data:ro",
        "demo",
        "sh",
        "-c",
        script,
    ]);
    assert!(outcome.text().starts_with("one\n"), "{outcome:?}");
    let kept = installation.run_ok(&["run", "--rm", "-v", "data:/data", "demo", "cat", "/data/file"]);
    assert_eq!(kept, "one");
    // Twice in one container, with different access.
    let script = "echo no > /b/file; echo two > /a/file; cat /b/file";
    let outcome = installation.container(&[
        "run",
        "--rm",
        "-v",
        "data:/a",
        "-v",
        "data:/b:ro",
        "demo",
        "sh",
        "-c",
        script,
    ]);
    assert_eq!(outcome.text(), "two\n", "{outcome:?}");
    assert!(outcome.stderr.contains("Read-only"), "{outcome:?}");
}

#[test]
fn f94_a_volume_is_of_one_running_container_at_a_time() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "holder", "-v", "data:/d", "demo", "sleep", "600"]);
    let second = installation.container(&["run", "--name", "second", "-v", "data:/d", "demo", "true"]);
    assert_eq!(second.code, 125, "{second:?}");
    assert!(second.stderr.contains("volume 'data' is in use by container 'holder'"), "{second:?}");
    assert!(second.stderr.contains("container stop holder"), "{second:?}");
    assert_eq!(installation.ids(), ["holder"]);
    let delete = installation.container(&["volume", "delete", "data"]).expect_code(1);
    assert!(delete.stderr.contains("in use by container 'holder'"), "{delete:?}");
    assert_eq!(installation.run_ok(&["volume", "prune"]), "");

    // Known again to the next apiserver.
    kill_apiserver(&installation);
    let third = installation.container(&["run", "--rm", "-v", "data:/d", "demo", "true"]);
    assert_eq!(third.code, 125, "{third:?}");
    // A stopped container still has it, but does not hold it.
    installation.run_ok(&["stop", "--time", "0", "holder"]);
    installation.run_ok(&["run", "--rm", "-v", "data:/d", "demo", "true"]);
    assert_eq!(installation.container(&["volume", "delete", "data"]).code, 1);
    installation.run_ok(&["rename", "holder", "renamed"]);
    let delete = installation.container(&["volume", "delete", "data"]).expect_code(1);
    assert!(delete.stderr.contains("in use by container 'renamed'"), "{delete:?}");
    installation.run_ok(&["start", "renamed"]);
    installation.run_ok(&["delete", "--force", "renamed"]);
    let pruned = installation.container(&["volume", "prune"]);
    assert_eq!(pruned.text(), "data\n", "{pruned:?}");
    assert!(pruned.stderr.contains("Reclaimed"), "{pruned:?}");
}

#[test]
fn trap10_anonymous_volumes_survive_rm_unless_told_otherwise() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "--rm", "-v", "/data", "demo", "touch", "/data/x"]);
    let anonymous = names(&installation);
    assert_eq!(anonymous.len(), 1);
    assert_eq!(anonymous[0].len(), 36, "{anonymous:?}");
    assert!(installation.run_ok(&["volume", "list"]).contains("  anonymous  "));
    assert_eq!(
        installation.run_ok(&["run", "--rm", "-v", &format!("{}:/d", anonymous[0]), "demo", "ls", "/d"]),
        "x"
    );
    // Whoever names it keeps it, however his container ends.
    let named = format!("{}:/d", anonymous[0]);
    let failed = installation.container(&["run", "-v", &named, "demo", "/missing"]);
    assert_eq!(failed.code, 127, "{failed:?}");
    installation.run_ok(&["create", "--name", "borrower", "-v", &named, "demo", "true"]);
    installation.run_ok(&["delete", "--volumes", "borrower"]);
    assert_eq!(names(&installation), anonymous);
    installation.run_ok(&["volume", "delete", "--all"]);

    installation.run_ok(&["create", "--name", "box", "-v", "/data", "-v", "named:/named", "demo", "true"]);
    assert_eq!(names(&installation).len(), 2);
    installation.run_ok(&["delete", "--volumes", "box"]);
    assert_eq!(names(&installation), ["named"]);
    // A container that does not start leaves none either.
    let failed = installation.container(&["run", "-v", "/data", "demo", "/missing"]);
    assert_eq!(failed.code, 127, "{failed:?}");
    assert_eq!(names(&installation), ["named"]);
}

#[test]
fn volumes_and_folders_are_taken_over_from_other_containers() {
    let installation = Installation::with_demo();
    let folder = installation.folder().join("folder");
    fs::create_dir(&folder).unwrap();
    let folder_mount = format!("{}:/folder", folder.display());
    installation.run_ok(&["volume", "create", "--opt", "type=shared", "shared"]);
    installation.run_ok(&[
        "create",
        "--name",
        "source",
        "-v",
        "data:/data",
        "-v",
        "/anonymous",
        "-v",
        "shared:/shared",
        "-v",
        &folder_mount,
        "--tmpfs",
        "/memory",
        "demo",
        "sleep",
        "600",
    ]);
    let write =
        "for d in data anonymous shared folder; do echo $d > /$d/file || exit 1; done; [ ! -e /memory ]";
    installation.run_ok(&["run", "--rm", "--volumes-from", "source", "demo", "sh", "-c", write]);
    assert_eq!(fs::read_to_string(folder.join("file")).unwrap(), "folder\n");
    // Of an anonymous volume it is a user as of any other.
    assert_eq!(names(&installation).len(), 3);
    let read =
        "cat /data/file /anonymous/file /shared/file /folder/file; touch /data/x /folder/x && exit 1; exit 0";
    let said = installation.run_ok(&["run", "--rm", "--volumes-from", "source:ro", "demo", "sh", "-c", read]);
    assert_eq!(said, "data\nanonymous\nshared\nfolder");

    // What a container mounts itself wins; what it has is handed on.
    let own = ["create", "--name", "next", "--volumes-from", "source", "-v", "other:/data", "demo", "true"];
    installation.run_ok(&own);
    let template = "{{range .Mounts}}{{.Destination}}={{.Name}} {{end}}";
    let mounts = installation.run_ok(&["inspect", "-f", template, "next"]);
    assert!(mounts.starts_with("/data=other /anonymous="), "{mounts}");
    assert!(mounts.ends_with(" /shared=shared /folder="), "{mounts}");
    let last = ["run", "--rm", "--volumes-from", "next", "demo", "ls", "/data", "/anonymous"];
    assert_eq!(installation.run_ok(&last), "/anonymous:\nfile\n\n/data:");

    // The disk of a container that runs is nobody else's; the volume of one that is gone goes with the last.
    installation.run_ok(&["start", "source"]);
    let busy = installation.container(&["run", "--rm", "--volumes-from", "source", "demo", "true"]);
    assert_eq!(busy.code, 125, "{busy:?}");
    assert!(busy.stderr.contains("is in use by container 'source'"), "{busy:?}");
    installation.run_ok(&["delete", "--force", "--volumes", "source"]);
    assert!(names(&installation).iter().any(|name| name.len() == 36), "'next' still has it");

    let nobody =
        installation.container(&["create", "--volumes-from", "nobody", "demo", "true"]).expect_code(1);
    assert!(nobody.stderr.contains("container 'nobody' not found"), "{nobody:?}");
    let _ = installation.container(&["create", "--volumes-from", "next:z", "demo", "true"]).expect_code(64);
    assert_eq!(installation.ids(), ["next"]);
    installation.run_ok(&["delete", "--volumes", "next"]);
    assert!(!names(&installation).iter().any(|name| name.len() == 36), "the last one took it along");
}

#[test]
fn what_was_synced_survives_the_death_of_the_machine() {
    let installation = Installation::with_demo();
    let script = "i=0; while :; do i=$((i+1)); echo $i > /d/next; sync /d/next; mv /d/next /d/last; sync; echo $i; done";
    installation.run_ok(&["run", "-d", "--name", "writer", "-v", "data:/d", "demo", "sh", "-c", script]);
    let lines = || installation.run_ok(&["logs", "writer"]).lines().count();
    wait_until("some rounds", || lines() > 20);
    let pid = installation.snapshot("writer")["status"]["machine"]["pid"].as_i64().unwrap();
    installation.kill(i32::try_from(pid).unwrap());
    wait_until("stopped", || installation.state("writer") == "stopped");
    let told: u64 = installation.run_ok(&["logs", "writer"]).lines().last().unwrap().parse().unwrap();
    let kept = installation.run_ok(&["run", "--rm", "-v", "data:/d", "demo", "cat", "/d/last"]);
    let kept: u64 = kept.parse().expect("a whole number");
    assert!(kept == told || kept == told + 1, "{kept} after {told} was told");
}

#[test]
fn deleted_files_give_their_space_back_to_the_host() {
    let installation = Installation::with_demo();
    let blocks = || fs::metadata(disk(&installation, "data")).unwrap().blocks() * 512;
    let script = "dd if=/dev/urandom of=/d/big bs=1M count=64 2>/dev/null; sync";
    installation.run_ok(&["run", "--rm", "-v", "data:/d", "demo", "sh", "-c", script]);
    assert!(blocks() > 64 << 20, "{}", blocks());
    installation.run_ok(&[
        "run",
        "--rm",
        "-v",
        "data:/d",
        "demo",
        "sh",
        "-c",
        "rm /d/big; sync; sleep 1; sync",
    ]);
    assert!(blocks() < 16 << 20, "{} bytes after the file was deleted", blocks());
}

#[test]
fn many_volumes_and_nested_mounts() {
    let installation = Installation::with_demo();
    let mut words = vec!["run".to_owned(), "--rm".to_owned()];
    for number in (0..26).rev() {
        words.extend(["-v".to_owned(), format!("v{number}:/top/{number}")]);
    }
    // Given last, mounted first.
    words.extend(["-v", "top:/top", "--tmpfs", "/top/0/memory", "demo", "sh", "-c"].map(str::to_owned));
    words.push(
        "for n in /top/*; do echo $n > $n/name; done; cat /top/25/name; grep -c ' /top' /proc/mounts"
            .to_owned(),
    );
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    assert_eq!(installation.run_ok(&words), "/top/25\n28");
    let name = installation.run_ok(&["run", "--rm", "-v", "v25:/v", "demo", "cat", "/v/name"]);
    assert_eq!(name, "/top/25");
}

#[test]
fn f50_one_name_is_given_away_once() {
    let installation = Installation::with_demo();
    let codes: Vec<i32> = std::thread::scope(|scope| {
        let create = || installation.container(&["volume", "create", "-s", "16m", "data"]).code;
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(create)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    assert_eq!(names(&installation), ["data"]);
}

#[test]
fn a_start_waits_for_a_copy_of_its_volume() {
    let installation = Installation::with_demo();
    for id in ["from", "to"] {
        installation.run_ok(&["create", "--name", id, "-v", "data:/data", "demo", "sleep", "600"]);
    }
    // Its reader is slow: whatever it copies is not done before the pipe is closed.
    let copy = || {
        let mut command = installation.command(&["cp", "from:/", "-"]);
        let copy = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the command line");
        let record = installation.container_directory("from").join("maintenance.json");
        wait_until("the copy", || record.exists());
        copy
    };
    let mut slow = copy();
    let told = installation.container(&["cp", "to:/data/.", "-"]).expect_code(1);
    assert!(told.stderr.contains("is being copied"), "{told:?}");
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| installation.container(&["start", "to"]));
        std::thread::sleep(Duration::from_secs(1));
        assert!(!starting.is_finished());
        drop(slow.stdout.take());
        let outcome = starting.join().expect("no panic");
        assert_eq!(outcome.code, 0, "{outcome:?}");
    });
    slow.wait().expect("the end of the command line");
    installation.run_ok(&["stop", "--time", "0", "to"]);
    // Not for ever, and whoever waits can be stopped.
    let mut slow = copy();
    let refused = installation.container(&["start", "to"]).expect_code(1);
    assert!(refused.stderr.contains("is being copied from, or to, with container 'from'"), "{refused:?}");
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| installation.container(&["start", "to"]));
        std::thread::sleep(Duration::from_secs(1));
        installation.run_ok(&["stop", "to"]);
        let outcome = starting.join().expect("no panic");
        assert!(outcome.stderr.contains("was stopped while it started"), "{outcome:?}");
    });
    drop(slow.stdout.take());
    slow.wait().expect("the end of the command line");
}

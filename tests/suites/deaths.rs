//! Deaths at bad moments: of the command, of the daemon while it creates, of single processes of a
//! machine; and a daemon without descriptors. What the death of whole machines does is in `recovery`.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bulkhead_tests::{Installation, Reply, ScriptedImage, ScriptedRegistry, digest, wait_until};
use rustix::process::{Pid, Signal, kill_process};

fn spawn(installation: &Installation, arguments: &[&str]) -> Child {
    let mut command = installation.command(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn entries(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}

#[test]
fn f2_a_killed_pull_stops_and_can_be_repeated() {
    let installation = Installation::with_demo();
    let image = ScriptedImage::new(300_000);
    let (layer, length) = (digest(&image.layer), image.layer.len());
    let half = image.layer[..200_000].to_vec();
    let registry = ScriptedRegistry::start(image, move |request| {
        if !request.is_for(&layer) || request.earlier > 0 {
            return Reply::Honest;
        }
        Reply::unfinished(length, half.clone(), Duration::from_secs(60))
    });
    let temporary = installation.folder().join("app/images/tmp");
    let reference = registry.reference("image:1");
    let pull = spawn(&installation, &["image", "pull", &reference]);
    wait_until("download", || entries(&temporary) > 0);
    kill(pull);
    wait_until("the download is given up", || entries(&temporary) == 0);
    assert_eq!(installation.run_ok(&["image", "list", "--quiet"]), "docker.io/library/demo:latest");
    installation.run_ok(&["image", "pull", &reference]);
}

/// Helpers that have a machine; others wait for a start.
fn machines(installation: &Installation) -> usize {
    let helpers = installation.pids("container-runtime-linux");
    helpers.iter().filter(|pid| last_child_of(**pid).is_some()).count()
}

#[test]
fn f2_killed_copies_and_exports_leave_nothing_behind() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "box", "demo", "sleep", "600"]);
    installation.run_ok(&["exec", "box", "dd", "if=/dev/urandom", "of=/big", "bs=1M", "count=200"]);
    installation.run_ok(&["create", "--name", "still", "demo", "true"]);
    let target = installation.folder().join("target");
    fs::create_dir(&target).unwrap();
    let archive = target.join("archive.tar");
    let host = target.join("host");
    fs::write(&host, vec![7; 64 << 20]).unwrap();
    let (archive_text, host_text) = (archive.to_str().unwrap(), host.to_str().unwrap());
    let out = format!("{}/out", target.display());
    for words in [
        &["export", "-o", archive_text, "box"][..],
        &["copy", "box:/big", &out],
        &["copy", host_text, "box:/in"],
        &["copy", host_text, "still:/in"],
    ] {
        let before = bytes_in(&target);
        let child = spawn(&installation, words);
        // What the command moves itself, or has the daemon write.
        let moved = || moved_bytes(child.id()).max(bytes_in(&target).saturating_sub(before));
        wait_until("the copy is under way", || moved() > (4 << 20));
        kill(child);
        // The running container is not held by it.
        wait_until("the container is free", || installation.container(&["exec", "box", "true"]).code == 0);
    }
    assert!(!archive.exists() || fs::metadata(&archive).unwrap().len() > (200 << 20), "half an archive");
    // A whole copy works right away; a stopped container's machine ends with its last user.
    installation.run_ok(&["copy", host_text, "still:/in"]);
    assert_eq!(installation.state("still"), "stopped");
    wait_until("only one machine is left", || machines(&installation) == 1);
    installation.run_ok(&["delete", "--force", "box", "still"]);
    assert!(installation.container_leftovers().is_empty());
}

fn bytes_in(folder: &Path) -> u64 {
    fs::read_dir(folder).unwrap().filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len())).sum()
}

/// What a process has read and written so far.
fn moved_bytes(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    let field =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    field("rchar:").unwrap_or(0).max(field("wchar:").unwrap_or(0))
}

#[test]
fn f3_a_daemon_that_dies_while_it_creates_leaves_all_or_nothing() {
    let installation = Installation::with_demo();
    for round in 0..24_u64 {
        let name = format!("c{round}");
        let create = spawn(&installation, &["create", "--name", &name, "demo", "true"]);
        // From before the request arrives until after it was answered.
        thread::sleep(Duration::from_micros(700 * round));
        for pid in installation.pids("container-apiserver") {
            installation.kill(pid);
        }
        let mut create = create;
        create.wait().unwrap();
        if installation.ids().contains(&name) {
            installation.run_ok(&["start", "--attach", &name]);
        } else {
            installation.run_ok(&["run", "--name", &name, "demo", "true"]);
        }
    }
    assert_eq!(installation.ids().len(), 24);
    assert_eq!(installation.container_leftovers().len(), 24);
}

/// The last child of a process: of a helper its machine, of a machine a guest's process.
fn last_child_of(pid: i32) -> Option<i32> {
    // Any thread may be the parent.
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let children: String =
        threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok()).collect();
    children.split_whitespace().last()?.parse().ok()
}

#[test]
fn f9_the_death_of_a_guest_process_on_the_host_is_no_hang() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "box", "demo", "sleep", "600"]);
    installation.run_ok(&["run", "-d", "--name", "other", "demo", "sleep", "600"]);
    let vmm =
        i32::try_from(installation.snapshot("box")["status"]["machine"]["pid"].as_i64().unwrap()).unwrap();
    let stub = last_child_of(vmm).expect("a process of the guest");
    installation.kill(stub);
    // Either its process is gone and the container with it, or the machine lives on; both answer.
    let answers = Instant::now();
    let outcome = installation.container(&["exec", "box", "true"]);
    assert!(answers.elapsed() < Duration::from_secs(30), "{outcome:?}");
    if installation.state("box") == "running" {
        installation.run_ok(&["stop", "-t", "1", "box"]);
    }
    assert_eq!(installation.state("box"), "stopped");
    assert_eq!(installation.run_ok(&["exec", "other", "echo", "alive"]), "alive");
    installation.run_ok(&["start", "box"]);
}

#[test]
fn f10_f11_whatever_stands_still_can_be_stopped_and_removed() {
    let installation = Installation::with_demo();
    for name in ["machine", "helper"] {
        installation.run_ok(&["run", "-d", "--name", name, "demo", "sleep", "600"]);
    }
    let vmm_of = |name: &str| {
        let pid = installation.snapshot(name)["status"]["machine"]["pid"].as_i64().unwrap();
        Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
    };
    // A kernel that does not power off when it is told to.
    kill_process(vmm_of("machine"), Signal::STOP).unwrap();
    let begin = Instant::now();
    installation.run_ok(&["stop", "-t", "1", "machine"]);
    assert!(begin.elapsed() < Duration::from_secs(30));
    assert_eq!(installation.state("machine"), "stopped");

    let status = fs::read_to_string(format!("/proc/{}/status", vmm_of("helper").as_raw_pid())).unwrap();
    let helper = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap();
    kill_process(Pid::from_raw(helper).unwrap(), Signal::STOP).unwrap();
    let begin = Instant::now();
    installation.run_ok(&["delete", "--force", "helper"]);
    assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
    assert_eq!(installation.ids(), ["machine"]);
    assert_eq!(installation.container_leftovers().len(), 1);
}

#[test]
fn f18_a_daemon_without_descriptors_refuses_and_recovers() {
    let installation = Installation::with_demo();
    installation.restart_services_with_descriptors(160);
    installation.run_ok(&["run", "-d", "--name", "old", "demo", "sleep", "600"]);

    // Each keeps connections and descriptors of the daemon busy.
    let followers: Vec<Child> = (0..200).map(|_| spawn(&installation, &["events"])).collect();
    // A quarter of the descriptors is for connections; whoever comes then is told so.
    wait_until("the daemon is full", || {
        let refused = installation.container(&["run", "--rm", "demo", "true"]);
        let told = refused.stderr.lines().filter(|line| line.starts_with("Error:")).count();
        assert!(refused.code == 0 || told == 1, "{refused:?}");
        refused.code != 0 && refused.stderr.contains("too many commands are connected")
    });
    followers.into_iter().for_each(kill);
    wait_until("the daemon serves again", || {
        installation.container(&["run", "--rm", "demo", "true"]).code == 0
    });
    assert_eq!(installation.run_ok(&["exec", "old", "echo", "alive"]), "alive");
    assert_eq!(installation.pids("container-apiserver").len(), 1);
    assert_eq!(installation.ids(), ["old"]);
}

#[test]
fn f65_the_date_of_a_guest_follows_the_host() {
    let installation = Installation::with_demo();
    installation.run_ok(&["run", "-d", "--name", "box", "--cap-add", "SYS_TIME", "demo", "sleep", "600"]);
    let host = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let distance = || {
        let guest: u64 = installation.run_ok(&["exec", "box", "date", "+%s"]).parse().unwrap();
        guest.abs_diff(host())
    };
    assert!(distance() < 3, "{}", distance());
    for date in ["@1000000000", "@4000000000"] {
        installation.run_ok(&["exec", "box", "date", "-s", date]);
        assert!(distance() > 1_000_000, "the guest's clock is its own");
        wait_until("the date is right again", || distance() < 3);
    }
    assert_eq!(installation.state("box"), "running");
}

/// A tree of its own, so that programs can be replaced while they run.
fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else if fs::hard_link(entry.path(), &target).is_err() {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

#[test]
fn f17_an_upgrade_counts_from_the_next_start() {
    let installation = Installation::with_demo();
    installation.run_ok(&["system", "stop"]);
    let command = installation.command(&[]);
    let tree = installation.folder().join("tree");
    copy_tree(Path::new(command.get_program()).ancestors().nth(2).unwrap(), &tree);
    installation.run_ok(&["system", "start", "--install-root", tree.to_str().unwrap()]);
    installation.run_ok(&["run", "-d", "--name", "old", "demo", "sleep", "600"]);
    let helper = |name: &str| {
        let vmm = installation.snapshot(name)["status"]["machine"]["pid"].as_i64().unwrap();
        let status = fs::read_to_string(format!("/proc/{vmm}/status")).unwrap();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().to_owned();
        fs::read_link(format!("/proc/{parent}/exe")).unwrap()
    };
    // Two wait for the next starts.
    wait_until("spare helpers", || installation.pids("container-runtime-linux").len() >= 3);
    let program = tree.join("libexec/bulkhead/container-runtime-linux");
    fs::copy(&program, program.with_extension("new")).unwrap();
    fs::rename(program.with_extension("new"), &program).unwrap();

    installation.run_ok(&["run", "-d", "--name", "new", "demo", "sleep", "600"]);
    assert_eq!(helper("new"), program);
    assert!(helper("old").to_string_lossy().ends_with(" (deleted)"), "{:?}", helper("old"));
    assert_eq!(installation.run_ok(&["exec", "old", "echo", "alive"]), "alive");
    assert_eq!(installation.run_ok(&["exec", "new", "echo", "alive"]), "alive");
}

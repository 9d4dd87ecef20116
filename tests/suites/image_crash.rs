//! Images when the daemon is killed or the disk is full: afterwards all is as before, or better.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use bulkhead_tests::{
    Installation, Reply, ScriptedImage, ScriptedRegistry, digest, run_with_deadline, wait_until,
};

fn temporaries(installation: &Installation) -> usize {
    fs::read_dir(installation.folder().join("app/images/tmp")).map_or(0, Iterator::count)
}

fn kill_daemon(installation: &Installation) {
    let pids = installation.pids("container-apiserver");
    assert_eq!(pids.len(), 1);
    installation.kill(pids[0]);
    wait_until("end of the daemon", || installation.pids("container-apiserver").is_empty());
}

fn spawn(installation: &Installation, arguments: &[&str], stdin: Stdio) -> Child {
    let mut command = installation.command(arguments);
    command.stdin(stdin).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_daemon_that_is_killed_during_a_pull_leaves_nothing() {
    let installation = Installation::with_demo();
    let image = ScriptedImage::new(300_000);
    let (layer, length) = (digest(&image.layer), image.layer.len());
    let (half, wanted) = (image.layer[..200_000].to_vec(), layer.clone());
    let registry = ScriptedRegistry::start(image, move |request| {
        if !request.is_for(&wanted) || request.earlier > 0 {
            return Reply::Honest;
        }
        Reply::unfinished(length, half.clone(), Duration::from_secs(60))
    });
    let reference = registry.reference("image:1");
    let mut pull = spawn(&installation, &["image", "pull", &reference], Stdio::null());
    wait_until("download", || temporaries(&installation) > 0);
    kill_daemon(&installation);
    assert!(!pull.wait().unwrap().success());
    assert!(temporaries(&installation) > 0, "the daemon had no time to clean up");

    // The next daemon does, and knows no image that is not whole.
    assert_eq!(installation.run_ok(&["image", "list", "--quiet"]), "docker.io/library/demo:latest");
    assert_eq!(temporaries(&installation), 0);
    installation.run_ok(&["image", "pull", &reference]);
    let saved = installation.container(&["image", "save", &reference]).expect_code(0);
    let found = saved.stdout.windows(layer.len() - 7).any(|window| window == &layer.as_bytes()[7..]);
    assert!(found, "the layer is in the archive");
    assert_eq!(installation.run_ok(&["run", "--rm", "demo", "echo", "whole"]), "whole");
}

#[test]
fn a_daemon_that_is_killed_during_a_load_leaves_nothing() {
    let installation = Installation::new();
    installation.run_ok(&["image", "list"]);
    let archive = fs::read(installation.demo_archive()).unwrap();
    let mut load = spawn(&installation, &["image", "load"], Stdio::piped());
    let mut stdin = load.stdin.take().unwrap();
    stdin.write_all(&archive[..archive.len() / 2]).unwrap();
    wait_until("load", || temporaries(&installation) > 0);
    kill_daemon(&installation);
    drop(stdin);
    assert!(!load.wait().unwrap().success());
    assert_eq!(installation.run_ok(&["image", "list", "--quiet"]), "");
    assert_eq!(temporaries(&installation), 0);
    installation.load(&installation.demo_archive());
    assert_eq!(installation.run_ok(&["run", "--rm", "demo", "echo", "loaded"]), "loaded");
}

/// A small disk in place of a folder, as long as it lives.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: &Path, size: &str) -> Self {
        fs::create_dir_all(folder).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size},mode=700"), "small"]).arg(folder);
        let mounted = run_with_deadline(&mut mount, b"");
        assert_eq!(mounted.code, 0, "this test mounts: run it as root; {mounted:?}");
        Self(folder.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = run_with_deadline(Command::new("umount").arg(&self.0), b"");
        assert!(unmounted.code == 0 || thread::panicking(), "{unmounted:?}");
    }
}

#[test]
fn a_full_disk_is_named_and_given_back() {
    let installation = Installation::new();
    installation.run_ok(&["image", "list"]);
    installation.run_ok(&["system", "stop"]);
    let images = installation.folder().join("app/images");
    let disk = SmallDisk::mount(&images, "6m");
    let small = ScriptedRegistry::start(ScriptedImage::new(500_000), |_| Reply::Honest);
    let large = ScriptedRegistry::start(ScriptedImage::new(9_000_000), |_| Reply::Honest);
    for _ in 0..2 {
        let full =
            installation.container(&["image", "pull", "--progress", "none", &large.reference("large:1")]);
        let full = full.expect_code(1);
        assert!(full.stderr.contains("does not fit") && full.stderr.contains("image prune"), "{full:?}");
        assert_eq!(temporaries(&installation), 0);
    }
    let large_archive = bulkhead_tests::write_index(
        installation.folder(),
        "large",
        &["amd64"],
        &[&[("content", &vec![5; 9_000_000])]],
    );
    let path = large_archive.to_str().unwrap();
    let full = installation.container(&["image", "load", "-i", path]).expect_code(1);
    assert!(full.stderr.contains("disk is full"), "{full:?}");
    assert_eq!(temporaries(&installation), 0);
    assert_eq!(installation.run_ok(&["image", "list", "--quiet"]), "");
    // What fits still does.
    installation.run_ok(&["image", "pull", &small.reference("small:1")]);
    assert_eq!(installation.run_ok(&["image", "list", "--quiet"]), small.reference("small:1"));
    installation.run_ok(&["system", "stop"]);
    drop(disk);
}

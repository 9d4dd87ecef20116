//! Images that leave: to archives, read by other tools, and to a real registry.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Stdio};

use bulkhead_tests::{Installation, Registry, digest, run_with_deadline, skopeo, wait_until, write_index};
use serde_json::Value;

const BIG_BYTES: usize = 40 << 20;

/// Bytes that no compression makes smaller.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    });
    words.take(length / 8).flat_map(u64::to_le_bytes).collect()
}

fn image(installation: &Installation, reference: &str) -> Value {
    let mut all: Value =
        serde_json::from_str(&installation.run_ok(&["image", "inspect", reference])).expect("JSON");
    all[0].take()
}

fn image_digest(installation: &Installation, reference: &str) -> String {
    image(installation, reference)["configuration"]["descriptor"]["digest"].as_str().unwrap().to_owned()
}

fn save(installation: &Installation, references: &[&str], name: &str) -> String {
    let path = installation.folder().join(name).to_str().unwrap().to_owned();
    installation.run_ok(&[&["image", "save", "-o", &path], references].concat());
    path
}

#[test]
fn a_saved_image_is_what_other_tools_read() {
    let installation = Installation::with_demo();
    installation.load(&write_index(
        installation.folder(),
        "two",
        &["amd64"],
        &[&[("one", b"1".as_slice())], &[("two", b"2".as_slice())]],
    ));
    installation.run_ok(&["image", "tag", "demo", "localhost:5000/team/demo:v2"]);
    let path = save(&installation, &["demo", "localhost:5000/team/demo:v2", "two"], "all.tar");

    // As an OCI layout: the very same manifest.
    let raw = skopeo(&["inspect", "--raw", &format!("oci-archive:{path}:v2")]).stdout;
    assert_eq!(digest(&raw), image_digest(&installation, "demo"));
    // As a docker archive: the same configuration, found by each of its names.
    let configuration: Value = serde_json::from_slice(&raw).unwrap();
    let expected = configuration["config"]["digest"].as_str().unwrap();
    for name in ["demo:latest", "localhost:5000/team/demo:v2"] {
        let source = format!("docker-archive:{path}:{name}");
        let raw = skopeo(&["inspect", "--config", "--raw", &source]).stdout;
        assert_eq!(digest(&raw), expected, "{name}");
    }
    // Everything in it is whole: skopeo copies and checks each blob.
    let (oci, docker) = (installation.folder().join("oci"), installation.folder().join("docker"));
    skopeo(&["copy", "--quiet", &format!("oci-archive:{path}:v2"), &format!("dir:{}", oci.display())]);
    let target = format!("dir:{}", docker.display());
    skopeo(&["copy", "--quiet", &format!("docker-archive:{path}:two:latest"), &target]);

    let podman = |arguments: &[&str]| {
        let storage = installation.folder().join("podman");
        let outcome = run_with_deadline(
            Command::new("podman")
                .args(["--storage-driver", "vfs", "--root"])
                .arg(storage.join("root"))
                .arg("--runroot")
                .arg(storage.join("run"))
                .args(arguments),
            b"",
        );
        assert_eq!(outcome.code, 0, "podman {arguments:?} (apt-get install podman): {outcome:?}");
        outcome.text()
    };
    podman(&["load", "--quiet", "-i", &path]);
    let listed = podman(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    for name in ["demo:latest", "localhost:5000/team/demo:v2", "two:latest"] {
        assert!(listed.lines().any(|line| line.ends_with(name)), "{name}: {listed}");
    }
    let id = podman(&["image", "inspect", "--format", "{{.Id}}", "localhost:5000/team/demo:v2"]);
    assert_eq!(format!("sha256:{}", id.trim()), expected);
}

#[test]
fn an_archive_goes_through_pipes_and_is_always_the_same() {
    let installation = Installation::with_demo();
    let first = save(&installation, &["demo"], "first.tar");
    let outcome = installation.container(&["image", "save", "demo"]).expect_code(0);
    assert!(outcome.stdout == fs::read(first).unwrap(), "stdout and --output get the same bytes");
    assert_eq!(outcome.stderr.trim_end(), "docker.io/library/demo:latest");

    let other = Installation::new();
    let loaded = other.container_with_input(&["image", "load"], &outcome.stdout).expect_code(0);
    assert_eq!(loaded.text().trim_end(), "docker.io/library/demo:latest");
    assert_eq!(image_digest(&other, "demo"), image_digest(&installation, "demo"));
    assert_eq!(other.run_ok(&["run", "--rm", "demo", "echo", "moved"]), "moved");
    let again = other.container(&["image", "save", "demo"]).expect_code(0);
    assert!(again.stdout == outcome.stdout, "a loaded image is saved as it was");
}

#[test]
fn a_save_that_fails_says_why_and_leaves_nothing() {
    let installation = Installation::with_demo();
    let path = installation.folder().join("kept.tar");
    fs::write(&path, "before").unwrap();
    let name = path.to_str().unwrap();
    let missing = installation.container(&["image", "save", "-o", name, "demo", "no-such"]).expect_code(1);
    assert!(
        missing.stderr.contains("no-such") && missing.stderr.trim_end().lines().count() == 1,
        "{missing:?}"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), "before");
    let full = installation.container(&["image", "save", "-o", "/dev/full", "demo"]).expect_code(1);
    assert!(full.stderr.contains("No space left"), "{full:?}");
    let platform = ["image", "save", "--platform", "linux/s390x", "-o", name, "demo"];
    let other = installation.container(&platform).expect_code(1);
    assert!(other.stderr.contains("linux/amd64"), "{other:?}");
    let _usage = installation.container(&["image", "save"]).expect_code(64);

    // A reader that has enough is no failure, here as elsewhere.
    let mut child = installation.command(&["image", "save", "demo"]);
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let outcome = child.wait_with_output().unwrap();
    assert!(outcome.status.success() && outcome.stderr.is_empty(), "{outcome:?}");
    assert_eq!(installation.run_ok(&["run", "--rm", "demo", "echo", "fine"]), "fine");
}

#[test]
fn a_client_that_dies_holds_nothing_up() {
    let installation = Installation::with_demo();
    let apiserver = installation.pids("container-apiserver")[0];
    let holds = |pipe: &Path| {
        let descriptors = fs::read_dir(format!("/proc/{apiserver}/fd")).unwrap();
        descriptors.flatten().any(|entry| fs::read_link(entry.path()).is_ok_and(|target| target == pipe))
    };
    // A reader that takes nothing, and a writer that gives nothing; both outlive the client.
    for arguments in [["image", "save", "demo"].as_slice(), &["image", "load"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        let pipe = fs::read_link(format!("/proc/self/fd/{}", reader.as_raw_fd())).unwrap();
        let mut command = installation.command(arguments);
        match arguments[1] {
            "save" => command.stdin(Stdio::null()).stdout(writer.try_clone().unwrap()),
            _ => command.stdin(reader.try_clone().unwrap()).stdout(Stdio::null()),
        };
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        drop(command);
        wait_until("transfer", || holds(&pipe));
        child.kill().unwrap();
        child.wait().unwrap();
        wait_until("end of the transfer", || !holds(&pipe));
        drop((reader, writer));
    }
}

#[test]
fn a_platform_is_saved_alone() {
    let installation = Installation::new();
    let archive =
        write_index(installation.folder(), "both", &["amd64", "arm64"], &[&[("a", b"a".as_slice())]]);
    installation.load(&archive);
    let both = save(&installation, &["both"], "both-again.tar");
    let raw = skopeo(&["inspect", "--raw", &format!("oci-archive:{both}")]).stdout;
    assert_eq!(digest(&raw), image_digest(&installation, "both"));
    let path = installation.folder().join("arm.tar").to_str().unwrap().to_owned();
    installation.run_ok(&["image", "save", "--arch", "arm64", "-o", &path, "both"]);
    let source = format!("oci-archive:{path}");
    let raw = skopeo(&["--override-arch", "arm64", "inspect", "--config", &source]).stdout;
    let configuration: Value = serde_json::from_slice(&raw).unwrap();
    assert_eq!(configuration["architecture"], "arm64");
    assert!(fs::metadata(&path).unwrap().len() < fs::metadata(&both).unwrap().len());
}

#[test]
fn a_pushed_image_has_its_digest_and_its_blobs_travel_once() {
    let installation = Installation::with_demo();
    let registry = Registry::start(installation.folder());
    let reference = registry.reference("team/demo:1");
    installation.run_ok(&["image", "tag", "demo", &reference]);
    assert_eq!(installation.run_ok(&["image", "push", &reference]), reference);
    assert_eq!(registry.manifest("team/demo:1").0, image_digest(&installation, "demo"));
    let uploads = || registry.count_requests(&["POST /v2/", "/blobs/uploads/", " 202 "]);
    assert_eq!(uploads(), 2, "the configuration and one layer");

    // Again: asked for, not sent. To another repository: taken over.
    installation.run_ok(&["image", "push", "--progress", "none", &reference]);
    let other = registry.reference("another/place/demo:2");
    installation.run_ok(&["image", "tag", "demo", &other]);
    installation.run_ok(&["image", "push", &other]);
    assert_eq!(uploads(), 2, "nothing is sent twice");
    assert_eq!(registry.count_requests(&["mount=sha256", " 201 "]), 2);
    assert_eq!(registry.manifest("another/place/demo:2").0, image_digest(&installation, "demo"));

    let puller = Installation::new();
    puller.run_ok(&["image", "pull", &other]);
    assert_eq!(image_digest(&puller, &other), image_digest(&installation, "demo"));
    assert_eq!(puller.run_ok(&["run", "--rm", &other, "echo", "came"]), "came");
    // What was pulled is pushed as it came, by its digest too.
    let target = format!("docker://{}", registry.reference("skopeo/demo:3"));
    let source = format!("docker://{other}");
    skopeo(&["copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false", &source, &target]);
    assert_eq!(registry.manifest("skopeo/demo:3").0, image_digest(&installation, "demo"));
}

#[test]
fn a_large_layer_is_pushed_whole() {
    let installation = Installation::new();
    let registry = Registry::start(installation.folder());
    let big = noise(BIG_BYTES);
    let archive = write_index(
        installation.folder(),
        "big",
        &["amd64"],
        &[&[("big", &big)], &[("small", b"s".as_slice())]],
    );
    installation.load(&archive);
    let reference = registry.reference("big:1");
    installation.run_ok(&["image", "tag", "big", &reference]);
    installation.run_ok(&["image", "push", &reference]);
    let target = format!("dir:{}", installation.folder().join("copy").display());
    skopeo(&["copy", "--quiet", "--src-tls-verify=false", &format!("docker://{reference}"), &target]);
    installation.run_ok(&["image", "delete", "big", &reference]);
    installation.run_ok(&["image", "pull", &reference]);
}

#[test]
fn an_index_is_pushed_as_far_as_it_is_here() {
    let installation = Installation::new();
    let registry = Registry::start(installation.folder());
    let archive =
        write_index(installation.folder(), "both", &["amd64", "arm64"], &[&[("a", b"a".as_slice())]]);
    installation.load(&archive);
    let reference = registry.reference("both:1");
    installation.run_ok(&["image", "tag", "both", &reference]);
    installation.run_ok(&["image", "push", &reference]);
    let (pushed, raw) = registry.manifest("both:1");
    assert_eq!(pushed, image_digest(&installation, "both"));
    let index: Value = serde_json::from_slice(&raw).unwrap();
    let arm = index["manifests"][1]["digest"].as_str().unwrap();

    // Of two platforms, one is pulled: that one is what can be pushed on.
    let partial = Installation::new();
    partial.run_ok(&["image", "pull", "--arch", "arm64", &reference]);
    let next = registry.reference("one:1");
    partial.run_ok(&["image", "tag", &reference, &next]);
    let outcome = partial.container(&["image", "push", &next]).expect_code(0);
    assert!(outcome.stderr.contains("linux/arm64 only"), "{outcome:?}");
    assert_eq!(registry.manifest("one:1").0, arm);
    // A platform by name, without its index.
    let third = registry.reference("amd:1");
    installation.run_ok(&["image", "tag", "both", &third]);
    installation.run_ok(&["image", "push", "--platform", "linux/amd64", &third]);
    assert_eq!(registry.manifest("amd:1").0, index["manifests"][0]["digest"].as_str().unwrap());
}

#[test]
fn a_push_that_fails_says_why() {
    let installation = Installation::with_demo();
    let unknown = installation.container(&["image", "push", "no-such"]).expect_code(1);
    assert!(
        unknown.stderr.contains("no-such") && unknown.stderr.trim_end().lines().count() == 1,
        "{unknown:?}"
    );
    // Nobody listens there.
    let registry = Registry::start(installation.folder());
    let reference = registry.reference("demo:1");
    drop(registry);
    installation.run_ok(&["image", "tag", "demo", &reference]);
    let gone = installation.container(&["image", "push", &reference]).expect_code(1);
    assert!(gone.stderr.contains("cannot be pushed") && gone.stderr.contains("cannot reach"), "{gone:?}");

    // A blob that the disk has changed is not passed on.
    let registry = Registry::start(installation.folder());
    let reference = registry.reference("demo:2");
    installation.run_ok(&["image", "tag", "demo", &reference]);
    let layer = largest_file(&installation.folder().join("app/images/blobs/sha256"));
    let mut bytes = fs::read(&layer).unwrap();
    bytes[9] ^= 1;
    fs::write(&layer, bytes).unwrap();
    let damaged = installation.container(&["image", "push", &reference]).expect_code(1);
    assert!(damaged.stderr.contains("is damaged"), "{damaged:?}");
    assert_eq!(registry.count_requests(&["PUT", "/manifests/"]), 0);
}

fn largest_file(folder: &Path) -> std::path::PathBuf {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.max_by_key(|path| File::open(path).unwrap().metadata().unwrap().len()).unwrap()
}

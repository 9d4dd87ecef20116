//! Images from archives and from a real registry.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use bulkhead_tests::{Installation, Registry, Reply, ScriptedImage, ScriptedRegistry, digest};

fn demo_archive() -> PathBuf {
    let tree = std::env::var_os("BULKHEAD_TEST_INSTALL_ROOT")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../.bulkhead"), PathBuf::from);
    tree.join("share/bulkhead/demo.tar")
}

#[test]
fn a_pushed_image_is_pulled_and_runs() {
    let installation = Installation::new();
    let registry = Registry::start(installation.folder());
    registry.push(&demo_archive(), "library/demo:1");
    let reference = registry.reference("library/demo:1");
    installation.run_ok(&["image", "pull", &reference]);
    assert_eq!(installation.run_ok(&["run", "--rm", &reference, "echo", "pulled"]), "pulled");
    // A missing image is pulled by run.
    installation.run_ok(&["image", "delete", &reference]);
    assert_eq!(installation.run_ok(&["run", "--rm", &reference, "echo", "again"]), "again");
}

#[test]
fn an_unknown_image_is_named() {
    let installation = Installation::new();
    let registry = Registry::start(installation.folder());
    let reference = registry.reference("no/such:image");
    let pulled = installation.container(&["image", "pull", &reference]).expect_code(1);
    assert!(pulled.stderr.contains("no/such:image"), "{pulled:?}");
    let run = installation.container(&["run", "--rm", &reference, "true"]).expect_code(125);
    assert!(run.stderr.contains("no/such:image"), "{run:?}");
    assert!(installation.ids().is_empty());
}

#[test]
fn f33_a_blob_with_other_bytes_is_refused() {
    let installation = Installation::new();
    let registry = Registry::start(installation.folder());
    registry.push(&demo_archive(), "demo:damaged");
    let layer = largest_file(&registry.blobs());
    let mut bytes = fs::read(&layer).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&layer, bytes).unwrap();
    let outcome =
        installation.container(&["image", "pull", &registry.reference("demo:damaged")]).expect_code(1);
    assert!(outcome.stderr.contains("sha256:"), "{outcome:?}");
    assert_eq!(installation.run_ok(&["image", "list", "--quiet"]), "");
    let temporary = installation.folder().join("app/images/tmp");
    assert_eq!(fs::read_dir(temporary).unwrap().count(), 0);
}

#[test]
fn images_are_listed_inspected_tagged_and_deleted() {
    let installation = Installation::with_demo();
    assert!(installation.run_ok(&["image", "list"]).contains("demo"));
    installation.run_ok(&["image", "tag", "demo", "other:2"]);
    let inspected: serde_json::Value =
        serde_json::from_str(&installation.run_ok(&["image", "inspect", "other:2"])).unwrap();
    assert_eq!(inspected[0]["variants"][0]["platform"]["architecture"], "amd64");
    installation.run_ok(&["image", "delete", "demo"]);
    assert_eq!(installation.run_ok(&["run", "--rm", "other:2", "echo", "still"]), "still");
    installation.run_ok(&["image", "delete", "other:2"]);
    assert_eq!(installation.run_ok(&["image", "list", "--format", "json"]), "[]");
}

#[test]
fn f23_a_damaged_layer_is_named_before_anything_starts() {
    let installation = Installation::with_demo();
    installation.run_ok(&["create", "--name", "made", "demo", "true"]);
    installation.run_ok(&["system", "stop"]);
    let layers = installation.folder().join("app/images/layers/sha256");
    let images = fs::read_dir(&layers).unwrap().map(|entry| entry.unwrap().path());
    let mut names = Vec::new();
    for path in images.filter(|path| path.extension().is_some_and(|extension| extension == "erofs")) {
        fs::File::options().write(true).open(&path).unwrap().set_len(8192).unwrap();
        names.push(path.file_stem().unwrap().to_str().unwrap().to_owned());
    }
    for words in [&["run", "--rm", "demo", "true"][..], &["start", "made"]] {
        let refused = installation.container(words).expect_code(if words[0] == "run" { 125 } else { 1 });
        assert!(names.iter().any(|name| refused.stderr.contains(&**name)), "{refused:?}");
        assert!(refused.stderr.contains("damaged"), "{refused:?}");
    }
    assert_eq!(installation.state("made"), "stopped");
    assert_eq!(installation.ids(), ["made"]);
    // Loaded again, all is well.
    installation.load(&installation.demo_archive());
    installation.run_ok(&["start", "--attach", "made"]);
    assert_eq!(installation.run_ok(&["run", "--rm", "demo", "echo", "whole"]), "whole");
}

#[test]
fn twenty_callers_share_one_download() {
    let installation = Installation::new();
    let image = ScriptedImage::new(3_000_000);
    let layer = digest(&image.layer);
    let wanted = layer.clone();
    let registry = ScriptedRegistry::start(image, move |request| {
        if request.is_for(&wanted) {
            thread::sleep(Duration::from_secs(2));
        }
        Reply::Honest
    });
    let reference = registry.reference("image:1");
    installation.run_ok(&["image", "list"]);
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| installation.run_ok(&["image", "pull", "--progress", "none", &reference]));
        }
    });
    assert_eq!(registry.requests().iter().filter(|request| request.is_for(&layer)).count(), 1);
    assert_eq!(installation.run_ok(&["image", "list", "--quiet"]), reference);
}

#[test]
fn a_pipe_gets_a_line_for_each_layer_and_a_platform_that_is_not_there_is_named() {
    let installation = Installation::new();
    let registry = ScriptedRegistry::start(ScriptedImage::new(3_000_000), |_| Reply::Honest);
    let reference = registry.reference("image:1");
    installation.run_ok(&["image", "list"]);
    for flags in [["--platform", "linux/arm64"], ["--arch", "arm64"]] {
        let words = [&["image", "pull"], &flags[..], &[&reference]].concat();
        let other = installation.container(&words).expect_code(1);
        assert!(other.stderr.contains("linux/arm64") && other.stderr.contains("linux/amd64"), "{other:?}");
    }
    let pulled = installation.container(&["image", "pull", &reference]).expect_code(0);
    assert_eq!(pulled.stderr, format!("{}: done, 3.0 MB\n", &digest(&registry.image.layer)[7..19]));
    let again = installation.container(&["image", "pull", &reference]).expect_code(0);
    assert_eq!((again.text().as_str(), again.stderr.as_str()), ("", ""));
    let none = ["image", "pull", "--max-concurrent-downloads", "0", &reference];
    assert_eq!(installation.container(&none).code, 64);
}

fn largest_file(folder: &Path) -> PathBuf {
    let mut waiting = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                waiting.push(entry.path());
            } else {
                files.push((entry.metadata().unwrap().len(), entry.path()));
            }
        }
    }
    files.into_iter().max().unwrap().1
}

//! Images from archives and from a real registry.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::fs;
use std::os::unix::fs::FileExt;
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
    let shows = |flags: &[&str]| {
        let words = [&["create", "--rm"], flags, &[&*reference, "true"]].concat();
        let created = installation.container(&words).expect_code(0);
        installation.run_ok(&["delete", "--all"]);
        installation.run_ok(&["image", "delete", &reference]);
        created.stderr
    };
    assert!(shows(&[]).contains(": done, "));
    assert_eq!(shows(&["--quiet"]), "");
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
    // By id, as Docker's scripts have it.
    let id = inspected[0]["id"].as_str().unwrap();
    for id in [&format!("sha256:{id}"), id, &id[..12]] {
        assert_eq!(installation.run_ok(&["run", "--rm", id, "echo", "it"]), "it", "{id}");
    }
    let refused = installation.container(&["image", "delete", id]).expect_code(1);
    assert!(refused.stderr.contains("several names"), "{refused:?}");
    let gone = format!("sha256:{}", "0".repeat(64));
    let gone = installation.container(&["run", &gone, "true"]).expect_code(125);
    assert!(!gone.stderr.contains("Pulling"), "{gone:?}");
    // Nor is any registry asked for another platform of one that is here.
    for words in [
        &["run", "--platform", "linux/s390x", &format!("sha256:{id}"), "true"][..],
        &["run", "--platform", "linux/s390x", &id[..12], "true"],
        &["run", "--pull", "always", &id[..12], "true"],
        &["image", "pull", &format!("sha256:{id}")],
    ] {
        let refused = installation.container(words);
        assert!(refused.code != 0 && !refused.stderr.contains("Pulling"), "{refused:?}");
    }
    installation.run_ok(&["image", "delete", "demo"]);
    assert_eq!(installation.run_ok(&["run", "--rm", "other:2", "echo", "still"]), "still");
    installation.run_ok(&["image", "delete", &id[..24]]);
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

/// The bytes differ, the length does not: nobody looks before something reads them.
#[test]
fn f23_bytes_that_change_on_disk_are_named_and_mended() {
    let installation = Installation::with_demo();
    let registry = Registry::start(installation.folder());
    registry.push(&installation.demo_archive(), "demo:1");
    let reference = registry.reference("demo:1");
    installation.run_ok(&["image", "pull", &reference]);
    assert_eq!(installation.run_ok(&["image", "verify", "--all"]).lines().count(), 2);
    let images = installation.folder().join("app/images");
    let files = |folder: &str| fs::read_dir(images.join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let layer = files("layers/sha256").find(|path| path.extension().unwrap() == "erofs").unwrap();
    let sound = fs::read(&layer).unwrap();
    let overwrite = |range: std::ops::Range<usize>| {
        let mut bytes = sound.clone();
        bytes[range].fill(0);
        // In place, as a disk would do it.
        let file = fs::File::options().write(true).open(&layer).unwrap();
        file.write_all_at(&bytes, 0).unwrap();
    };

    // The superblock is looked at before each start, and a pull mends what it misses.
    overwrite(1024..1100);
    assert_eq!(installation.run_ok(&["run", "--rm", &reference, "echo", "pulled"]), "pulled");
    assert_eq!(fs::read(&layer).unwrap(), sound);
    // Directories are read in the guest.
    overwrite(4096..sound.len());
    let refused = installation.container(&["run", "--rm", &reference, "true"]).expect_code(125);
    let hint = format!("container image verify {reference}");
    assert!(refused.stderr.contains("damaged") && refused.stderr.contains(&hint), "{refused:?}");
    assert!(installation.ids().is_empty());

    let mended = installation.container(&["image", "verify", &reference]).expect_code(0);
    assert_eq!(mended.text(), format!("{reference}\n"));
    assert!(mended.stderr.contains("was made anew"), "{mended:?}");
    assert_eq!(fs::read(&layer).unwrap(), sound);
    assert_eq!(installation.run_ok(&["run", "--rm", &reference, "echo", "whole"]), "whole");

    // What came from the registry comes from there again.
    let blob = files("blobs/sha256").max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    fs::File::options().write(true).open(&blob).unwrap().write_all_at(b"damage", 1000).unwrap();
    let damaged = installation.container(&["image", "verify", &reference]).expect_code(1);
    assert!(damaged.stderr.contains("is corrupt"), "{damaged:?}");
    assert!(damaged.stderr.contains(&format!("container image pull {reference}")), "{damaged:?}");
    installation.run_ok(&["image", "pull", &reference]);
    installation.run_ok(&["image", "verify", "--all"]);

    // A damaged manifest takes its image out of lists, and not out of reach.
    installation.run_ok(&["system", "stop"]);
    let (manifest, _) = registry.manifest("demo:1");
    let manifest = images.join("blobs/sha256").join(manifest.strip_prefix("sha256:").unwrap());
    fs::write(manifest, "{}").unwrap();
    let damaged = installation.container(&["image", "verify", "--all"]).expect_code(1);
    assert!(damaged.stderr.contains(&reference), "{damaged:?}");
    installation.run_ok(&["image", "delete", "--all"]);
    assert_eq!(installation.run_ok(&["image", "list", "--quiet"]), "");
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

//! What `image prune` takes, what it leaves, and what it gives back.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use bulkhead_tests::{Installation, Registry, write_index};

/// Disk space in bytes of all files below a folder.
fn occupied_bytes(folder: &Path) -> u64 {
    let mut total = 0;
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                waiting.push(entry.path());
            } else {
                total += metadata.blocks() * 512;
            }
        }
    }
    total
}

#[test]
fn only_what_nobody_needs_is_removed_and_its_space_comes_back() {
    let installation = Installation::with_demo();
    let content = vec![7; 3 << 20];
    for name in ["idle", "second", "third"] {
        let layers: &[bulkhead_tests::LayerFiles<'_>] = &[&[("big", &content)], &[(name, name.as_bytes())]];
        installation.load(&write_index(installation.folder(), name, &["amd64"], layers));
    }
    installation.run_ok(&["create", "--name", "holder", "demo", "echo", "alive"]);
    let images = installation.folder().join("app/images");

    // All have tags: nothing to do.
    let none = installation.container(&["image", "prune"]).expect_code(0);
    assert_eq!(none.text(), "");
    assert!(none.stderr.contains("Reclaimed 0"), "{none:?}");
    assert_eq!(installation.run_ok(&["image", "list", "--quiet"]).lines().count(), 4);

    let before = occupied_bytes(&images);
    let all = installation.container(&["image", "prune", "--all"]).expect_code(0);
    let text = all.text();
    for name in ["idle", "second", "third"] {
        assert!(text.contains(&format!("untagged docker.io/library/{name}:latest\n")), "{all:?}");
    }
    assert!(!text.contains("demo"), "{all:?}");
    let freed = before - occupied_bytes(&images);
    // The big layer, as it came and as it is mounted.
    assert!(freed > 6 << 20, "{freed}");
    let tenths = freed / 100_000;
    let told = format!("Reclaimed {}.{} MB", tenths / 10, tenths % 10);
    assert!(all.stderr.contains(&told), "{freed}: {all:?}");
    assert_eq!(installation.run_ok(&["image", "list", "--quiet"]), "docker.io/library/demo:latest");
    assert_eq!(installation.run_ok(&["start", "-a", "holder"]), "alive");

    installation.run_ok(&["delete", "holder"]);
    let last = installation.container(&["image", "prune", "-af"]).expect_code(0);
    assert!(last.text().contains("untagged docker.io/library/demo:latest\n"), "{last:?}");
    for folder in ["blobs/sha256", "layers/sha256", "diff-ids/sha256", "tmp"] {
        assert_eq!(fs::read_dir(images.join(folder)).unwrap().count(), 0, "{folder}");
    }
}

#[test]
fn an_image_without_a_tag_is_removed_by_default() {
    let installation = Installation::with_demo();
    let registry = Registry::start(installation.folder());
    registry.push(&installation.demo_archive(), "demo:1");
    let (digest, _) = registry.manifest("demo:1");
    let pinned = format!("{}@{digest}", registry.reference("demo"));
    installation.run_ok(&["image", "pull", &pinned]);
    let pruned = installation.container(&["image", "prune"]).expect_code(0);
    assert_eq!(pruned.text(), format!("untagged {pinned}\n"), "the content has a tag elsewhere");
    assert_eq!(installation.run_ok(&["run", "--rm", "demo", "echo", "kept"]), "kept");
}

#[test]
fn a_prune_takes_nothing_that_is_being_pulled_or_started() {
    let installation = Installation::new();
    let registry = Registry::start(installation.folder());
    registry.push(&installation.demo_archive(), "demo:1");
    let reference = registry.reference("demo:1");
    std::thread::scope(|scope| {
        let (done, is_done) = std::sync::mpsc::channel::<()>();
        let installation = &installation;
        scope.spawn(move || {
            while is_done.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                installation.run_ok(&["image", "prune", "--all"]);
            }
        });
        for round in 0..8 {
            let word = format!("round {round}");
            assert_eq!(installation.run_ok(&["run", "--rm", &reference, "echo", &word]), word);
        }
        drop(done);
    });
    installation.run_ok(&["image", "prune", "--all"]);
    assert_eq!(fs::read_dir(installation.folder().join("app/images/tmp")).unwrap().count(), 0);
}

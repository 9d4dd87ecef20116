//! Whatever happens, at whichever system call: the store is whole afterwards, and trying again succeeds.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::collections::{BTreeMap, HashSet};
use std::error::Error;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bulkhead_image_store::{Limits, PullOptions, Store, StoreError};
use bulkhead_oci::{Digest, Reference};
use rustix::io::Errno;
use support::Tar;
use support::images::{Layout, Packing, Registry};
use support::interruption::{Effect, FileIdentity, Step, Verdict, judged};
use tempfile::TempDir;

/// Something that changes a store, once or twice with the same result.
#[derive(Clone)]
struct Operation {
    /// The store that it begins with.
    before: Arc<TempDir>,
    run: Arc<Run>,
    /// Images that are whole at all times, if their manifest is there.
    images: Vec<Digest>,
    /// Every file, when it is done.
    after: Content,
}

type Run = dyn Fn(&Store) -> Result<(), StoreError> + Send + Sync;
type Content = BTreeMap<String, Vec<u8>>;

impl Operation {
    fn new(
        before: TempDir,
        images: Vec<Digest>,
        run: impl Fn(&Store) -> Result<(), StoreError> + Send + Sync + 'static,
    ) -> Self {
        let done = copy(before.path(), &HashSet::new());
        run(&open(done.path())).unwrap();
        let after = content(done.path());
        assert_ne!(content(before.path()), after, "the operation does something");
        Self { before: Arc::new(before), run: Arc::new(run), images, after }
    }

    /// Looks at a store as the next process finds it, and does the operation there.
    fn expect_recovery(&self, root: &Path, event: &str) {
        let store = Store::open(root, Limits::default()).unwrap_or_else(|error| panic!("{event}: {error}"));
        assert_eq!(fs::read_dir(root.join("tmp")).unwrap().count(), 0, "{event}: tmp/ is swept");
        self.expect_whole(&store, root, event);
        (self.run)(&store).unwrap_or_else(|error| panic!("{event}: {}", chain(&error)));
        assert!(content(root) == self.after, "{event}: done again, all is as it should be");
    }

    /// What has a name is complete.
    fn expect_whole(&self, store: &Store, root: &Path, event: &str) {
        let before = content(self.before.path());
        for (name, bytes) in content(root) {
            let (folder, file) = name.rsplit_once('/').unwrap();
            match folder {
                "blobs/sha256" => assert_eq!(Digest::of(&bytes).hex(), file, "{event}: {name}"),
                "layers/sha256" => {
                    let good = self.after.get(&name).or(before.get(&name));
                    assert!(good == Some(&bytes), "{event}: {name}");
                }
                // These may be cut short: crates/image-store/src/ingest.rs.
                _ => {}
            }
        }
        for image in &self.images {
            if root.join("blobs/sha256").join(image.hex()).exists() {
                store.verify(image).unwrap_or_else(|error| panic!("{event}: {}", chain(&error)));
            }
        }
    }

    /// The process is killed, or the power fails, at each step.
    fn is_cut_at_every_step(&self) {
        let root = copy(self.before.path(), &HashSet::new());
        let (path, run) = (root.path().to_owned(), Arc::clone(&self.run));
        let copies: Arc<Mutex<Vec<(String, TempDir)>>> = Arc::default();
        let kept = Arc::clone(&copies);
        let watched = path.clone();
        let mut unsynced: HashSet<FileIdentity> = HashSet::new();
        let judge = move |step: &Step| {
            let mut kept = kept.lock().unwrap();
            kept.push((format!("killed at {step:?}"), copy(&watched, &HashSet::new())));
            kept.push((format!("power lost at {step:?}"), copy(&watched, &unsynced)));
            match (step.effect, step.file) {
                (Effect::Grows, Some(file)) => drop(unsynced.insert(file)),
                (Effect::Syncs, Some(file)) => drop(unsynced.remove(&file)),
                _ => {}
            }
            Verdict::GoOn
        };
        judged(move || run(&open(&path)), judge).unwrap();
        let copies = std::mem::take(&mut *copies.lock().unwrap());
        assert!(copies.len() > 10, "{} copies", copies.len());
        for (event, copied) in copies {
            self.expect_recovery(copied.path(), &event);
        }
    }

    /// The disk is full from each step on, until there is room again for the same process.
    fn meets_a_full_disk_at_every_step(&self) {
        self.fails_at_every_step(|step, number| {
            let is_refused = step.number >= number && step.effect == Effect::Grows;
            is_refused.then_some(Errno::NOSPC)
        });
    }

    /// Each step fails once, as on a damaged disk.
    fn meets_a_damaged_disk_at_every_step(&self) {
        self.fails_at_every_step(|step, number| (step.number == number).then_some(Errno::IO));
    }

    fn fails_at_every_step(&self, failure: impl Fn(&Step, usize) -> Option<Errno> + Copy + Send + 'static) {
        for number in 0.. {
            let root = copy(self.before.path(), &HashSet::new());
            let store = open(root.path());
            let (run, moved) = (Arc::clone(&self.run), store.clone());
            let failed: Arc<Mutex<Vec<(String, Effect, Errno)>>> = Arc::default();
            let noted = Arc::clone(&failed);
            let outcome = judged(
                move || run(&moved),
                move |step| match failure(step, number) {
                    Some(error) => {
                        noted.lock().unwrap().push((format!("{step:?}"), step.effect, error));
                        Verdict::Fail(error)
                    }
                    None => Verdict::GoOn,
                },
            );
            let failed = std::mem::take(&mut *failed.lock().unwrap());
            let Some((event, effect, error)) = failed.first() else {
                assert!(number > 5, "only {number} steps");
                outcome.unwrap();
                return;
            };
            match outcome {
                Err(told) => {
                    let text = chain(&told).to_lowercase();
                    let reason = std::io::Error::from(*error).to_string().to_lowercase();
                    let (reason, _number) = reason.split_once(" (").unwrap();
                    assert!(text.contains(reason), "{event}: {text}");
                }
                // What removes a temporary file may be left to the next start.
                Ok(()) => assert_eq!(*effect, Effect::Removes, "{event}: went unnoticed"),
            }
            if *effect != Effect::Removes {
                assert_eq!(fs::read_dir(root.path().join("tmp")).unwrap().count(), 0, "{event}: tmp/");
            }
            self.expect_whole(&store, root.path(), event);
            (self.run)(&store).unwrap_or_else(|error| panic!("{event}: {}", chain(&error)));
            assert!(content(root.path()) == self.after, "{event}: tried again, all is as it should be");
            drop(store);
            self.expect_recovery(root.path(), event);
        }
    }
}

fn open(root: &Path) -> Store {
    Store::open(root, Limits::default()).unwrap()
}

/// A store as it is, with half of what is in `unsynced`.
fn copy(root: &Path, unsynced: &HashSet<FileIdentity>) -> TempDir {
    let target = tempfile::tempdir().unwrap();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::metadata(&path).unwrap();
            let copied = target.path().join(path.strip_prefix(root).unwrap());
            if metadata.is_dir() {
                fs::create_dir(&copied).unwrap();
                pending.push(path);
                continue;
            }
            fs::copy(&path, &copied).unwrap();
            if unsynced.contains(&(metadata.dev(), metadata.ino())) {
                fs::File::options().write(true).open(&copied).unwrap().set_len(metadata.len() / 2).unwrap();
            }
        }
    }
    target
}

fn content(root: &Path) -> Content {
    let mut found = Content::new();
    for directory in ["blobs/sha256", "layers/sha256", "diff-ids/sha256"] {
        for entry in fs::read_dir(root.join(directory)).into_iter().flatten() {
            let entry = entry.unwrap();
            let name = format!("{directory}/{}", entry.file_name().display());
            found.insert(name, fs::read(entry.path()).unwrap());
        }
    }
    found
}

fn chain(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

/// Bytes that no compression makes smaller.
fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(length)
    .collect()
}

/// An image of all packings, one layer of which has a directory that no entry describes.
fn image(layout: &mut Layout, name: &str, seed: u32) -> Digest {
    let layers = [
        (Tar::default().directory("base", 0o755).file("base/file", &noise(7, 300_000)).end(), Packing::Gzip),
        (Tar::default().file("no/entry/for/this", &noise(seed, 5000)).end(), Packing::Zstd),
        (Tar::default().file("plain", name.as_bytes()).end(), Packing::Plain),
    ];
    layout.add(name, "amd64", &layers)
}

fn load() -> Operation {
    let mut layout = Layout::new();
    let digest = image(&mut layout, "one", 1);
    let archive = layout.tar();
    Operation::new(tempfile::tempdir().unwrap(), vec![digest], move |store| {
        store.load_archive(&archive[..], |_| {}).map(drop)
    })
}

fn collection() -> Operation {
    let mut layout = Layout::new();
    let (kept, _) = (image(&mut layout, "kept", 1), image(&mut layout, "removed", 2));
    let before = tempfile::tempdir().unwrap();
    open(before.path()).load_archive(&layout.tar()[..], |_| {}).unwrap();
    Operation::new(before, vec![kept], move |store| store.remove_unreferenced(|| vec![kept]).map(drop))
}

fn pull(registry: &Registry) -> Operation {
    let mut layout = Layout::new();
    let digest = image(&mut layout, "one", 1);
    registry.push(&layout, "one", "app:v1");
    let reference: Reference = format!("{}/app:v1", registry.address).parse().unwrap();
    Operation::new(tempfile::tempdir().unwrap(), vec![digest], move |store| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let platform = "linux/amd64".parse().unwrap();
        let pulled = store.pull(&reference, Some(&platform), PullOptions::default(), |_| {});
        runtime.block_on(pulled).map(drop)
    })
}

#[test]
fn a_load_may_be_cut_anywhere() {
    load().is_cut_at_every_step();
}

#[test]
fn a_load_survives_a_full_disk_anywhere() {
    load().meets_a_full_disk_at_every_step();
}

#[test]
fn a_load_survives_a_damaged_disk_anywhere() {
    load().meets_a_damaged_disk_at_every_step();
}

#[test]
fn a_pull_may_be_cut_anywhere() {
    let registry = Registry::start();
    pull(&registry).is_cut_at_every_step();
}

#[test]
fn a_pull_survives_a_full_disk_anywhere() {
    let registry = Registry::start();
    pull(&registry).meets_a_full_disk_at_every_step();
}

#[test]
fn a_pull_survives_a_damaged_disk_anywhere() {
    let registry = Registry::start();
    pull(&registry).meets_a_damaged_disk_at_every_step();
}

#[test]
fn a_collection_may_be_cut_anywhere() {
    collection().is_cut_at_every_step();
}

#[test]
fn a_collection_survives_a_damaged_disk_anywhere() {
    collection().meets_a_damaged_disk_at_every_step();
}

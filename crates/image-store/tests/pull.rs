//! Pulls from a real registry, filled by skopeo.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bulkhead_erofs::Image;
use bulkhead_image_store::{Limits, ProgressEvent, PullOptions, Store, StoreError, StoreOptions};
use bulkhead_oci::{Digest, Platform, Reference};
use bulkhead_registry::RegistryError;
use support::Tar;
use support::images::{Layout, Packing, Registry};

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

fn busybox_layer() -> Vec<u8> {
    Tar::default().directory("bin", 0o755).file("bin/busybox", &fs::read("/bin/busybox").unwrap()).end()
}

fn layer(seed: u64, length: usize) -> Vec<u8> {
    Tar::default().directory("data", 0o755).file(&format!("data/{seed}"), &noise(seed, length)).end()
}

fn open(root: &Path) -> Store {
    Store::open(root, Limits::default()).unwrap()
}

fn amd64() -> Platform {
    "linux/amd64".parse().unwrap()
}

/// All files of a store with their sizes.
fn files(root: &Path) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for directory in ["blobs/sha256", "layers/sha256", "tmp"] {
        for entry in fs::read_dir(root.join(directory)).unwrap() {
            let entry = entry.unwrap();
            found.insert(
                format!("{directory}/{}", entry.file_name().display()),
                entry.metadata().unwrap().len(),
            );
        }
    }
    found
}

#[test]
fn a_lock_that_a_child_of_a_killed_process_still_has_is_waited_for() {
    let root = tempfile::tempdir().unwrap();
    drop(open(root.path()));
    let lock = fs::File::open(root.path().join("lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let child = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(300));
        drop(lock);
    });
    drop(open(root.path()));
    child.join().unwrap();
}

#[tokio::test]
async fn an_image_of_all_compressions_arrives_whole() {
    let registry = Registry::start();
    let mut layout = Layout::new();
    let layers = [
        (busybox_layer(), Packing::Gzip),
        (layer(1, 300_000), Packing::Zstd),
        (layer(2, 3000), Packing::Plain),
        (layer(3, 10), Packing::Gzip),
        // The same layer twice.
        (layer(3, 10), Packing::Gzip),
    ];
    let manifest = layout.add("one", "amd64", &layers);
    registry.push(&layout, "one", "app:v1");
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let reference: Reference = format!("{}/app:v1", registry.address).parse().unwrap();
    let events = Mutex::new(Vec::new());
    let pulled = store
        .pull(&reference, Some(&amd64()), PullOptions::default(), |event| events.lock().unwrap().push(event))
        .await
        .unwrap();
    assert_eq!(pulled.descriptor.digest, manifest);
    let image = store.image(&manifest, &amd64()).unwrap();
    assert_eq!(image.layers.len(), 5);
    for (file, (tar, _)) in image.layers.iter().zip(&layers) {
        assert_eq!(file.diff_id, Digest::of(tar));
        assert_eq!(fs::metadata(&file.path).unwrap().len(), file.length_bytes);
    }
    let busybox = Image::open(fs::File::open(&image.layers[0].path).unwrap()).unwrap();
    let stat = busybox.lookup(b"bin/busybox").unwrap().unwrap();
    assert_eq!(busybox.content(&stat, 1 << 30).unwrap(), fs::read("/bin/busybox").unwrap());
    assert_eq!(image.configuration.config.as_ref().unwrap().cmd.as_ref().unwrap(), &["/bin/sh"]);
    store.verify(&manifest).unwrap();
    let variants = store.variants(&manifest).unwrap();
    assert_eq!((variants.len(), variants[0].descriptor.digest), (1, manifest));

    let events = events.into_inner().unwrap();
    let Some(ProgressEvent::Planned { layers: 4, total_bytes }) = events.first() else {
        panic!("{events:?}")
    };
    let advanced = events.iter().map(|event| match event {
        ProgressEvent::LayerAdvanced { bytes, .. } => *bytes,
        _ => 0,
    });
    assert_eq!(advanced.sum::<u64>(), *total_bytes);
    assert_eq!(events.iter().filter(|event| matches!(event, ProgressEvent::LayerFinished { .. })).count(), 4);

    // Again: nothing to fetch. And as another process would find it.
    let before = files(root.path());
    let events = Mutex::new(Vec::new());
    let again = store
        .pull(&reference, Some(&amd64()), PullOptions::default(), |event| events.lock().unwrap().push(event))
        .await
        .unwrap();
    assert_eq!(
        events
            .into_inner()
            .unwrap()
            .iter()
            .filter(|event| matches!(event, ProgressEvent::LayerExists { .. }))
            .count(),
        4
    );
    drop((pulled, again));
    assert!(matches!(Store::open(root.path(), Limits::default()), Err(StoreError::Locked { .. })));
    drop(store);
    fs::write(root.path().join("tmp/left-behind"), b"x").unwrap();
    let store = open(root.path());
    assert_eq!(store.image(&manifest, &amd64()).unwrap().layers.len(), 5);
    assert_eq!(files(root.path()), before);
    use std::os::unix::fs::PermissionsExt;
    for (name, _) in before {
        assert_eq!(
            fs::metadata(root.path().join(&name)).unwrap().permissions().mode() & 0o777,
            0o600,
            "{name}"
        );
    }
}

#[tokio::test]
async fn images_of_docker_are_understood() {
    let registry = Registry::start();
    let mut layout = Layout::new();
    layout.add("one", "amd64", &[(busybox_layer(), Packing::Gzip), (layer(5, 10), Packing::Gzip)]);
    let source = format!("oci:{}:one", support::path_text(layout.path()));
    let target = format!("docker://{}/docker/one:latest", registry.address);
    let options = ["copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false", "--format=v2s2"];
    support::run("skopeo", &[&options[..], &[&source, &target]].concat());
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let reference: Reference = format!("{}/docker/one", registry.address).parse().unwrap();
    let pulled = store.pull(&reference, Some(&amd64()), PullOptions::default(), |_| {}).await.unwrap();
    assert_eq!(pulled.descriptor.media_type, bulkhead_oci::MediaType::DockerManifest);
    assert_eq!(store.image(&pulled.descriptor.digest, &amd64()).unwrap().layers.len(), 2);
    store.verify(&pulled.descriptor.digest).unwrap();
}

#[tokio::test]
async fn a_platform_is_chosen_from_an_index() {
    let registry = Registry::start();
    let mut layout = Layout::new();
    let base = layer(7, 1000);
    let amd = layout.add("amd", "amd64", &[(base.clone(), Packing::Gzip), (layer(8, 100), Packing::Gzip)]);
    let arm = layout.add("arm", "arm64", &[(base, Packing::Gzip), (layer(9, 100), Packing::Gzip)]);
    let index = layout.wrap_in_index("multi");
    registry.push(&layout, "multi", "multi:latest");
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let reference: Reference = format!("{}/multi", registry.address).parse().unwrap();
    let pulled = store.pull(&reference, Some(&amd64()), PullOptions::default(), |_| {}).await.unwrap();
    assert_eq!(pulled.descriptor.digest, index);
    assert_eq!(store.image(&index, &amd64()).unwrap().manifest_digest, amd);
    assert_eq!(store.variants(&index).unwrap().len(), 1);
    let arm64: Platform = "linux/arm64".parse().unwrap();
    assert!(matches!(store.image(&index, &arm64), Err(StoreError::MissingBlob { .. })));
    store.pull(&reference, None, PullOptions::default(), |_| {}).await.unwrap();
    assert_eq!(store.image(&index, &arm64).unwrap().manifest_digest, arm);
    assert_eq!(store.variants(&index).unwrap().len(), 2);
    let riscv: Platform = "linux/riscv64".parse().unwrap();
    let error = store.pull(&reference, Some(&riscv), PullOptions::default(), |_| {}).await.unwrap_err();
    assert!(error.to_string().contains("linux/amd64, linux/arm64"), "{error}");
    // By digest, and of the wrong platform.
    let pinned = reference.with_digest(arm);
    store.pull(&pinned, Some(&arm64), PullOptions::default(), |_| {}).await.unwrap();
    let error = store.pull(&pinned, Some(&amd64()), PullOptions::default(), |_| {}).await.unwrap_err();
    assert!(matches!(error, StoreError::NoMatchingPlatform { .. }), "{error}");
    let shared = store.size_bytes(&[amd, arm]).unwrap();
    assert!(shared < store.size_bytes(&[amd]).unwrap() + store.size_bytes(&[arm]).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_pulls_make_one_download_and_cancelling_some_harms_none() {
    let registry = Registry::start();
    let mut layout = Layout::new();
    layout.add("big", "amd64", &[(layer(11, 20 << 20), Packing::Gzip)]);
    registry.push(&layout, "big", "big:latest");
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let reference: Arc<Reference> = Arc::new(format!("{}/big", registry.address).parse().unwrap());
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let (store, reference) = (store.clone(), Arc::clone(&reference));
            tokio::spawn(async move {
                store.pull(&reference, Some(&amd64()), PullOptions::default(), |_| {}).await.map(drop)
            })
        })
        .collect();
    tokio::time::sleep(std::time::Duration::from_millis(60)).await;
    for (number, task) in tasks.into_iter().enumerate() {
        if number < 5 {
            task.abort();
            drop(task.await);
        } else {
            task.await.unwrap().unwrap();
        }
    }
    let image = layout.manifests[0].parse::<serde_json::Value>().unwrap();
    let manifest: Digest = image["digest"].as_str().unwrap().parse().unwrap();
    let document: serde_json::Value =
        serde_json::from_slice(&store.document_bytes(&manifest).unwrap()).unwrap();
    let blob: Digest = document["layers"][0]["digest"].as_str().unwrap().parse().unwrap();
    assert_eq!(registry.downloads(&blob), 1);
    store.verify(&manifest).unwrap();
    assert!(files(root.path()).keys().all(|name| !name.starts_with("tmp/")));
}

#[tokio::test]
async fn a_cancelled_pull_leaves_nothing() {
    let registry = Registry::start();
    let mut layout = Layout::new();
    layout.add("big", "amd64", &[(layer(12, 30 << 20), Packing::Plain)]);
    registry.push(&layout, "big", "big:latest");
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let reference: Reference = format!("{}/big", registry.address).parse().unwrap();
    let started = tokio::sync::Notify::new();
    let platform = amd64();
    let pull = store.pull(&reference, Some(&platform), PullOptions::default(), |event| {
        if matches!(event, ProgressEvent::LayerAdvanced { .. }) {
            started.notify_one();
        }
    });
    tokio::select! {
        _ = pull => panic!("the pull ended before it could be cancelled"),
        () = started.notified() => {}
    }
    let waited = std::time::Instant::now();
    while !files(root.path()).is_empty() {
        assert!(waited.elapsed().as_secs() < 30, "{:?}", files(root.path()));
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(store.begin_collection().sweep(&[]).unwrap().blobs, []);
}

#[tokio::test]
async fn damaged_content_is_refused_by_name_and_leaves_nothing() {
    let registry = Registry::start();
    let mut layout = Layout::new();
    let tar = layer(13, 50_000);
    layout.add("plain", "amd64", &[(tar.clone(), Packing::Plain)]);
    layout.add("zipped", "amd64", &[(layer(14, 50_000), Packing::Gzip)]);
    let wrong = [Digest::of(b"something else")];
    layout.add_claiming("lying", "amd64", &[(layer(15, 1000), Packing::Gzip)], &wrong);
    layout.add_claiming("few", "amd64", &[(layer(16, 1000), Packing::Gzip)], &[]);
    for name in ["plain", "zipped", "lying", "few"] {
        registry.push(&layout, name, &format!("{name}:latest"));
    }
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let pull = async |name: &str| {
        let reference: Reference = format!("{}/{name}", registry.address).parse().unwrap();
        store.pull(&reference, Some(&amd64()), PullOptions::default(), |_| {}).await.unwrap_err()
    };
    // One flipped byte in the registry's storage.
    let mut damage = fs::read(registry.blob_path(&Digest::of(&tar))).unwrap();
    damage[20_000] ^= 1;
    fs::write(registry.blob_path(&Digest::of(&tar)), &damage).unwrap();
    let error = pull("plain").await;
    let StoreError::Registry { source, .. } = &error else { panic!("{error}") };
    assert!(matches!(**source, RegistryError::DigestMismatch { .. }), "{source}");
    let text = source.to_string();
    assert!(
        text.contains(&Digest::of(&tar).to_string()) && text.contains(&Digest::of(&damage).to_string()),
        "{text}"
    );
    // Damage that the decompressor stumbles over first is still reported as what it is.
    let entry: serde_json::Value = layout.manifests[1].parse().unwrap();
    let digest = entry["digest"].as_str().unwrap().parse::<Digest>().unwrap();
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(layout.path().join("blobs/sha256").join(digest.hex())).unwrap())
            .unwrap();
    let blob: Digest = manifest["layers"][0]["digest"].as_str().unwrap().parse().unwrap();
    let mut bytes = fs::read(registry.blob_path(&blob)).unwrap();
    bytes[100..140].fill(0xff);
    fs::write(registry.blob_path(&blob), &bytes).unwrap();
    let error = pull("zipped").await;
    let StoreError::Registry { source, .. } = &error else { panic!("{error}") };
    assert!(matches!(**source, RegistryError::DigestMismatch { .. }), "{source}");

    assert!(matches!(pull("lying").await, StoreError::DiffIdMismatch { .. }));
    assert!(matches!(pull("few").await, StoreError::LayerCount { layers: 1, diff_ids: 0 }));
    let error = pull("nothing").await;
    let StoreError::Registry { source, .. } = &error else { panic!("{error}") };
    assert!(matches!(**source, RegistryError::NotFound { .. }), "{source}");
    assert!(source.to_string().contains(&format!("{}/nothing:latest", registry.address)));
    assert_eq!(files(root.path()), BTreeMap::new());
}

#[tokio::test]
async fn a_bomb_is_refused_and_a_full_disk_is_named() {
    let registry = Registry::start();
    let mut layout = Layout::new();
    let zeros = Tar::default().file("zeros", &vec![0; 64 << 20]).end();
    layout.add("bomb", "amd64", &[(zeros, Packing::Gzip)]);
    layout.add("large", "amd64", &[(layer(17, 12 << 20), Packing::Gzip)]);
    for name in ["bomb", "large"] {
        registry.push(&layout, name, &format!("{name}:latest"));
    }
    let root = tempfile::tempdir().unwrap();
    let limits = Limits { max_layer_bytes: 32 << 20, ..Limits::default() };
    let store = Store::open(&root.path().join("small"), limits).unwrap();
    let reference: Reference = format!("{}/bomb", registry.address).parse().unwrap();
    let error = store.pull(&reference, Some(&amd64()), PullOptions::default(), |_| {}).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("more than 33554432 bytes"), "{error}: {source}");
    assert_eq!(files(&root.path().join("small")), BTreeMap::new());

    support::need_root();
    // A tiny tmpfs, seen by this test's threads only.
    let reference: Reference = format!("{}/large", registry.address).parse().unwrap();
    let disk = root.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let (text, left) = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: the thread and the runtime's threads, which inherit the namespace, end within this scope.
            unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }.unwrap();
            use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
            mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE).unwrap();
            mount("tmpfs", &disk, "tmpfs", MountFlags::empty(), Some(c"size=8m")).unwrap();
            let store = open(&disk);
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
            let platform = amd64();
            let error = runtime
                .block_on(store.pull(&reference, Some(&platform), PullOptions::default(), |_| {}))
                .unwrap_err();
            (error.to_string(), files(&disk))
        });
        thread.join().unwrap()
    });
    assert!(text.contains("no space left on device") && text.contains("disk/tmp/"), "{text}");
    assert_eq!(left, BTreeMap::new());
}

#[tokio::test]
async fn collections_keep_what_is_wanted_and_leased() {
    let registry = Registry::start();
    let mut layout = Layout::new();
    let base = layer(20, 5000);
    let one = layout.add("one", "amd64", &[(base.clone(), Packing::Gzip), (layer(21, 100), Packing::Gzip)]);
    let two = layout.add("two", "amd64", &[(base, Packing::Gzip), (layer(22, 100), Packing::Gzip)]);
    for name in ["one", "two"] {
        registry.push(&layout, name, &format!("{name}:latest"));
    }
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let pull = async |name: &str| {
        let reference: Reference = format!("{}/{name}", registry.address).parse().unwrap();
        store.pull(&reference, Some(&amd64()), PullOptions::default(), |_| {}).await.unwrap()
    };
    let (first, second) = (pull("one").await, pull("two").await);
    // Both are protected by the leases of their pulls.
    assert_eq!(store.remove_unreferenced(Vec::new).unwrap().blobs, []);
    drop(first);
    // The second's lease ends while a collection is under way: it stays this time.
    let collection = store.begin_collection();
    drop(second);
    let collected = collection.sweep(&[]).unwrap();
    assert_eq!(collected.blobs.len(), 4, "manifest, configuration, layer and EROFS file of the first");
    assert!(collected.freed_bytes > 0);
    assert!(matches!(store.image(&one, &amd64()), Err(StoreError::MissingBlob { .. })));
    store.verify(&two).unwrap();
    // A root protects, a lease by digest does so too.
    assert_eq!(store.remove_unreferenced(|| vec![two]).unwrap().blobs, []);
    let lease = store.lease(&[two]);
    assert_eq!(store.remove_unreferenced(Vec::new).unwrap().blobs, []);
    store.image(&two, &amd64()).unwrap();
    drop(lease);
    store.remove_unreferenced(Vec::new).unwrap();
    assert!(store.image(&two, &amd64()).is_err(), "cached, but gone from the disk");
    assert_eq!(files(root.path()), BTreeMap::new());
}

#[tokio::test]
async fn a_pull_repairs_what_the_disk_has_lost() {
    let registry = Registry::start();
    let mut layout = Layout::new();
    let manifest = layout.add("one", "amd64", &[(layer(30, 50_000), Packing::Gzip)]);
    registry.push(&layout, "one", "one:latest");
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let reference: Reference = format!("{}/one", registry.address).parse().unwrap();
    let pull = async || store.pull(&reference, Some(&amd64()), PullOptions::default(), |_| {}).await.unwrap();
    drop(pull().await);
    let image = store.image(&manifest, &amd64()).unwrap();
    let path = &image.layers[0].path;
    let good = fs::read(path).unwrap();
    // A truncated EROFS file, a lost one, a damaged blob, a damaged manifest.
    fs::write(path, &good[..8192]).unwrap();
    assert!(matches!(store.image(&manifest, &amd64()), Err(StoreError::DamagedLayer { .. })));
    assert!(store.verify(&manifest).is_err());
    drop(pull().await);
    assert_eq!(fs::read(path).unwrap(), good);
    fs::remove_file(path).unwrap();
    drop(pull().await);
    store.verify(&manifest).unwrap();
    let mut flipped = good.clone();
    flipped[5000] ^= 1;
    fs::write(path, &flipped).unwrap();
    assert!(matches!(store.verify(&manifest), Err(StoreError::DamagedLayer { .. })));
    let document: serde_json::Value =
        serde_json::from_slice(&store.document_bytes(&manifest).unwrap()).unwrap();
    let blob: Digest = document["layers"][0]["digest"].as_str().unwrap().parse().unwrap();
    let blob_path = root.path().join("blobs/sha256").join(blob.hex());
    let mut bytes = fs::read(&blob_path).unwrap();
    bytes[1000] ^= 1;
    fs::write(&blob_path, bytes).unwrap();
    fs::write(root.path().join("blobs/sha256").join(manifest.hex()), b"{}").unwrap();
    assert!(matches!(store.document_bytes(&manifest), Err(StoreError::DigestMismatch { .. })));
    drop(pull().await);
    // Neither the layer nor its EROFS file is of another length, so the pull has taken both for whole.
    assert!(
        matches!(store.repair(&manifest), Err(StoreError::DigestMismatch { expected, .. }) if expected == blob)
    );
    drop(pull().await);
    assert_eq!(store.repair(&manifest).unwrap(), [image.layers[0].diff_id]);
    assert_eq!(fs::read(path).unwrap(), good);
    assert_eq!(store.repair(&manifest).unwrap(), []);
    fs::remove_file(path).unwrap();
    assert_eq!(store.repair(&manifest).unwrap(), [image.layers[0].diff_id]);
    store.verify(&manifest).unwrap();
    // The superblock of one that was resolved before is looked at each time.
    drop(store.image(&manifest, &amd64()).unwrap());
    let mut flipped = good.clone();
    flipped[1100] ^= 1;
    fs::write(path, &flipped).unwrap();
    assert!(matches!(store.image(&manifest, &amd64()), Err(StoreError::DamagedLayer { .. })));
}

#[tokio::test]
async fn mirrors_are_asked_first_and_the_registry_has_what_they_have_not() {
    let (registry, mirror) = (Registry::start(), Registry::start());
    let mut layout = Layout::new();
    let first = layout.add("one", "amd64", &[(layer(1, 1000), Packing::Gzip)]);
    let second = layout.add("two", "amd64", &[(layer(2, 1000), Packing::Gzip)]);
    mirror.push(&layout, "one", "app:one");
    registry.push(&layout, "two", "app:two");
    let root = tempfile::tempdir().unwrap();
    let configuration = root.path().join("certs.d").join(&registry.address);
    fs::create_dir_all(&configuration).unwrap();
    // The first one is not there at all.
    let text = format!(
        "server = \"http://{}\"\n[host.\"http://127.0.0.1:1\"]\n[host.\"http://{}\"]\n\
         capabilities = [\"pull\", \"resolve\"]\n",
        registry.address, mirror.address
    );
    fs::write(configuration.join("hosts.toml"), text).unwrap();
    let options =
        StoreOptions { certificate_folders: vec![root.path().join("certs.d")], ..StoreOptions::default() };
    let store = Store::open_with(&root.path().join("store"), options).unwrap();
    for (tag, digest) in [("one", first), ("two", second)] {
        let reference: Reference = format!("{}/app:{tag}", registry.address).parse().unwrap();
        let pulled = store.pull(&reference, Some(&amd64()), PullOptions::default(), |_| {}).await.unwrap();
        assert_eq!((pulled.descriptor.digest, pulled.reference), (digest, reference));
        store.verify(&digest).unwrap();
    }
    // What neither has is the registry's to tell; another registry has no mirrors.
    let missing: Reference = format!("{}/app:three", registry.address).parse().unwrap();
    let error = store.pull(&missing, Some(&amd64()), PullOptions::default(), |_| {}).await.unwrap_err();
    let StoreError::Registry { source, .. } = error else { panic!("{error}") };
    assert!(matches!(&*source, RegistryError::NotFound { name, .. } if name.starts_with(&registry.address)));
    fs::write(configuration.join("hosts.toml"), "mirror = 1").unwrap();
    let error = store.pull(&missing, Some(&amd64()), PullOptions::default(), |_| {}).await.unwrap_err();
    let StoreError::Registry { source, .. } = error else { panic!("{error}") };
    assert!(source.to_string().contains("hosts.toml"), "{source}");
}

//! `image load` and `image save`: skopeo's archives, and archives that try to get out.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::fs;
use std::io::{Read, Write};

use bulkhead_image_store::{Limits, LoadedImage, Store, StoreError};
use bulkhead_oci::{Digest, Platform};
use support::images::{Layout, Packing};
use support::{Tar, path_text, run};

struct Fixture {
    directory: tempfile::TempDir,
    store: Store,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store"), Limits::default()).unwrap();
        Self { directory, store }
    }

    fn load(&self, bytes: &[u8]) -> Result<Vec<LoadedImage>, StoreError> {
        self.store.load_archive(bytes, |_| {})
    }

    /// Names below the store's content directories.
    fn files(&self) -> Vec<String> {
        let mut names = Vec::new();
        for directory in ["blobs/sha256", "layers/sha256", "tmp"] {
            for entry in fs::read_dir(self.directory.path().join("store").join(directory)).unwrap() {
                names.push(format!("{directory}/{}", entry.unwrap().file_name().display()));
            }
        }
        names
    }
}

fn amd64() -> Platform {
    "linux/amd64".parse().unwrap()
}

fn layer(name: &str, content: &[u8]) -> Vec<u8> {
    Tar::default().directory("d", 0o755).file(&format!("d/{name}"), content).end()
}

fn example() -> Layout {
    let mut layout = Layout::new();
    let layers = [
        (layer("a", &[1; 100_000]), Packing::Gzip),
        (layer("b", b"b"), Packing::Zstd),
        (layer("c", b"c"), Packing::Plain),
    ];
    layout.add("example.org/app:v1", "amd64", &layers);
    layout
}

/// Hands out a byte or so at a time and cannot seek, as a pipe.
struct Trickle<'a>(&'a [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = buffer.len().min(1777);
        self.0.read(&mut buffer[..length])
    }
}

#[test]
fn oci_layouts_keep_their_digests() {
    let layout = example();
    let tar = layout.tar();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    for bytes in [tar, gzip.finish().unwrap()] {
        let fixture = Fixture::new();
        let loaded = fixture.store.load_archive(Trickle(&bytes), |_| {}).unwrap();
        assert_eq!(loaded.len(), 1);
        assert_eq!(loaded[0].reference.as_ref().unwrap().to_string(), "example.org/app:v1");
        let digest = loaded[0].descriptor.digest;
        assert!(layout.manifests[0].contains(&digest.to_string()));
        assert_eq!(fixture.store.image(&digest, &amd64()).unwrap().layers.len(), 3);
        fixture.store.verify(&digest).unwrap();
        assert!(fixture.files().iter().all(|name| !name.starts_with("tmp/")));
        assert_eq!(fixture.files().len(), 8, "{:?}", fixture.files());
        // Loading again changes nothing.
        assert_eq!(fixture.load(&bytes).unwrap()[0].descriptor.digest, digest);
        assert_eq!(fixture.files().len(), 8);
    }
}

#[test]
fn docker_archives_of_skopeo_and_saved_ones_round_trip() {
    let mut layout = Layout::new();
    let layers = [(layer("a", &[1; 100_000]), Packing::Gzip), (layer("b", b"b"), Packing::Plain)];
    layout.add("example.org/app:v1", "amd64", &layers);
    let fixture = Fixture::new();
    let docker = fixture.directory.path().join("docker.tar");
    let source = format!("oci:{}:example.org/app:v1", path_text(layout.path()));
    let target = format!("docker-archive:{}:example.org/app:v2", path_text(&docker));
    run("skopeo", &["copy", "--quiet", "--insecure-policy", &source, &target]);
    let loaded = fixture.load(&fs::read(&docker).unwrap()).unwrap();
    assert_eq!(loaded[0].reference.as_ref().unwrap().to_string(), "example.org/app:v2");
    let digest = loaded[0].descriptor.digest;
    let image = fixture.store.image(&digest, &amd64()).unwrap();
    assert_eq!(image.layers[1].diff_id, Digest::of(&layer("b", b"b")));

    // Out again: both forms, read by skopeo, and by another store.
    let saved = fixture.directory.path().join("saved.tar");
    let images = [(loaded[0].reference.clone(), digest)];
    let save = |platform| {
        fixture.store.save_archive(&images, platform, fs::File::create(&saved).unwrap()).unwrap();
        fs::read(&saved).unwrap()
    };
    let bytes = save(None);
    assert_eq!(bytes, save(Some(&amd64())));
    for form in ["oci-archive", "docker-archive"] {
        let target = format!("dir:{}", path_text(&fixture.directory.path().join(form)));
        let source = format!("{form}:{}", path_text(&saved));
        run("skopeo", &["copy", "--quiet", "--insecure-policy", &source, &target]);
    }
    let other = Fixture::new();
    let again = other.load(&bytes).unwrap();
    assert_eq!((again[0].descriptor.digest, &again[0].reference), (digest, &images[0].0));
    other.store.verify(&digest).unwrap();
}

#[test]
fn an_index_comes_with_the_platforms_that_are_there() {
    let mut layout = Layout::new();
    layout.add("amd", "amd64", &[(layer("a", b"amd"), Packing::Gzip)]);
    let arm = layout.add("arm", "arm64", &[(layer("a", b"arm"), Packing::Gzip)]);
    let index = layout.wrap_in_index("multi");
    let fixture = Fixture::new();
    let loaded = fixture.load(&layout.tar()).unwrap();
    // "multi" is a tag without a name.
    assert_eq!((loaded[0].descriptor.digest, loaded[0].reference.is_none()), (index, true));
    assert_eq!(fixture.store.variants(&index).unwrap().len(), 2);
    let mut saved = Vec::new();
    let reference = "example.org/multi:x".parse().unwrap();
    fixture
        .store
        .save_archive(&[(Some(reference), index)], Some(&"linux/arm64".parse().unwrap()), &mut saved)
        .unwrap();
    let loaded = Fixture::new().load(&saved).unwrap();
    assert_eq!(loaded[0].descriptor.digest, arm);
    // Whole, then with one platform's manifest missing.
    fs::remove_file(layout.path().join("blobs/sha256").join(arm.hex())).unwrap();
    let fixture = Fixture::new();
    fixture.load(&layout.tar()).unwrap();
    assert_eq!(fixture.store.variants(&index).unwrap().len(), 1);
}

#[test]
fn old_docker_archives_with_linked_layers_are_understood() {
    let tar = layer("same", b"same");
    let diff_id = Digest::of(&tar);
    let configuration = format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{diff_id}","{diff_id}"]}}}}"#
    );
    let manifest =
        r#"[{"Config":"c.json","RepoTags":["app:1","app:2"],"Layers":["one/layer.tar","two/layer.tar"]}]"#;
    let archive = Tar::default()
        .directory("one", 0o755)
        .symlink("two/layer.tar", "../one/layer.tar")
        .file("one/layer.tar", &tar)
        .file("c.json", configuration.as_bytes())
        .file("manifest.json", manifest.as_bytes())
        .end();
    let fixture = Fixture::new();
    let loaded = fixture.load(&archive).unwrap();
    let names: Vec<String> =
        loaded.iter().map(|image| image.reference.as_ref().unwrap().to_string()).collect();
    assert_eq!(names, ["docker.io/library/app:1", "docker.io/library/app:2"]);
    assert_eq!(fixture.store.image(&loaded[0].descriptor.digest, &amd64()).unwrap().layers.len(), 2);
}

#[test]
fn directories_that_a_layer_does_not_describe_keep_what_they_had() {
    let base = Tar::default()
        .directory("tmp", 0o1777)
        .directory("home", 0o711)
        .pax(&[("uid", b"1000"), ("gid", b"1000")])
        .directory("home/user", 0o700)
        .directory("usr", 0o755)
        .directory("gone", 0o700)
        .directory("again", 0o700)
        .end();
    let top = Tar::default()
        .file("tmp/x", b"x")
        .file("home/user/.config/y", b"y")
        .file("usr/z", b"z")
        .file(".wh.gone", b"")
        .file("again/w", b"w")
        .directory("again", 0o750)
        .end();
    let last = Tar::default().file("gone/v", b"v").file("home/user/u", b"u").end();
    let mut layout = Layout::new();
    let all = [&base, &top, &last].map(|tar| (tar.clone(), Packing::Gzip));
    layout.add("a.example/fixed:1", "amd64", &all);
    layout.add("a.example/plain:1", "amd64", &all[..1]);
    let fixture = Fixture::new();
    let loaded = fixture.load(&layout.tar()).unwrap();
    let digest = loaded[0].descriptor.digest;
    let image = fixture.store.image(&digest, &amd64()).unwrap();
    assert_eq!(image.layers.len(), 4);
    let correcting = bulkhead_erofs::Image::open(fs::File::open(&image.layers[3].path).unwrap()).unwrap();
    let found = |path: &str| {
        let stat = correcting.lookup(path.as_bytes()).unwrap()?;
        Some((stat.metadata.permissions, stat.metadata.uid))
    };
    assert_eq!(found("tmp"), Some((0o1777, 0)));
    assert_eq!((found("home"), found("home/user")), (Some((0o711, 0)), Some((0o700, 1000))));
    for path in ["usr", "gone", "again", "home/user/.config"] {
        assert_eq!(found(path), None, "{path}");
    }
    assert_eq!(fixture.store.image(&loaded[1].descriptor.digest, &amd64()).unwrap().layers.len(), 1);
    // Damage of it is found and mended as that of others.
    let corrected = &image.layers[3];
    let mut bytes = fs::read(&corrected.path).unwrap();
    let sound = bytes.clone();
    bytes[1200] ^= 1;
    fs::write(&corrected.path, &bytes).unwrap();
    let expected = corrected.diff_id;
    assert!(
        matches!(fixture.store.verify(&digest), Err(StoreError::DamagedLayer { diff_id }) if diff_id == expected)
    );
    assert_eq!(fixture.store.repair(&digest).unwrap(), [expected]);
    assert_eq!(fs::read(&corrected.path).unwrap(), sound);
    // It goes with its image and not before.
    drop(loaded);
    fixture.store.remove_unreferenced(|| vec![digest]).unwrap();
    assert_eq!(fixture.store.image(&digest, &amd64()).unwrap().layers.len(), 4);
    fixture.store.remove_unreferenced(Vec::new).unwrap();
    assert_eq!(fixture.files(), [""; 0]);
}

#[test]
fn malicious_archives_are_refused_and_leave_nothing() {
    let good = layer("x", b"x");
    let configuration = |diff_id: Digest| {
        format!(
            r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}}}"#
        )
    };
    let right = configuration(Digest::of(&good));
    let wrong = configuration(Digest::of(b"else"));
    let manifest = |layer: &str| format!(r#"[{{"Config":"c.json","RepoTags":null,"Layers":["{layer}"]}}]"#);
    let docker = |configuration: &str, layer: &str| {
        Tar::default()
            .file("c.json", configuration.as_bytes())
            .file("manifest.json", manifest(layer).as_bytes())
    };
    let mut lying = example();
    let claimed = [Digest::of(&layer("a", &[1; 100_000]))];
    lying.add_claiming("x/lying:1", "amd64", &[(layer("z", b"z"), Packing::Gzip)], &claimed);
    let missing = example();
    let entry: serde_json::Value = missing.manifests[0].parse().unwrap();
    let digest: Digest = entry["digest"].as_str().unwrap().parse().unwrap();
    let blobs = missing.path().join("blobs/sha256");
    let document: serde_json::Value =
        serde_json::from_slice(&fs::read(blobs.join(digest.hex())).unwrap()).unwrap();
    let first: Digest = document["layers"][0]["digest"].as_str().unwrap().parse().unwrap();
    fs::remove_file(blobs.join(first.hex())).unwrap();
    let damaged = example();
    fs::write(damaged.path().join("blobs/sha256").join(first.hex()), b"other bytes").unwrap();
    let t = Tar::default;
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", t().end(), "holds no image"),
        ("not tar", b"hello".to_vec(), "not a valid tar"),
        ("traversal", t().file("../../etc/cron.d/x", b"x").end(), "leads out of the archive"),
        ("absolute", t().file("/etc/cron.d/x", b"x").end(), "leads out of the archive"),
        ("link outside", t().symlink("a/l", "../../etc/passwd").end(), "leads to no file"),
        ("absolute link", t().symlink("a/l", "/etc/passwd").end(), "leads to no file"),
        (
            "device",
            t().raw(&Tar::header(b'3', b"dev", b"", 0o666, 0)).end(),
            "neither a file nor a directory",
        ),
        (
            "two manifests",
            docker(&right, "l").file("l", &good).file("manifest.json", b"[]").end(),
            "two entries",
        ),
        ("layer by traversal", docker(&right, "../l").file("l", &good).end(), "leads out of the archive"),
        ("absolute layer", docker(&right, "/etc/passwd").file("l", &good).end(), "leads out of the archive"),
        ("missing layer", docker(&right, "gone").end(), "which is not there"),
        ("layer loop", docker(&right, "a").symlink("a", "b").symlink("b", "a").end(), "leads to no file"),
        ("layer link outside", docker(&right, "a").symlink("a", "b").end(), "leads to no file"),
        ("DiffID", docker(&wrong, "l").file("l", &good).end(), "unpacks to"),
        (
            "layer is no tar",
            docker(&configuration(Digest::of(&[b'z'; 1024])), "l").file("l", &[b'z'; 1024]).end(),
            "cannot be used",
        ),
        ("no list", t().file("manifest.json", b"{}").end(), "cannot be parsed"),
        (
            "bad tag",
            t().file("manifest.json", br#"[{"Config":"c","RepoTags":["A B"]}]"#).end(),
            "not an image reference",
        ),
        ("bad blob name", t().file("blobs/sha256/abc", b"x").end(), "invalid name"),
        ("wrong blob", damaged.tar(), "has the digest"),
        ("missing blob", missing.tar(), "is missing"),
        ("lying layout", lying.tar(), "unpacks to"),
        ("index is a manifest", t().file("index.json", br#"{"layers":[],"manifests":[]}"#).end(), "invalid"),
    ];
    for (name, bytes, expected) in cases {
        let fixture = Fixture::new();
        let error = fixture.load(&bytes).err().unwrap_or_else(|| panic!("{name} was accepted"));
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(error) = source {
            text += &format!(": {error}");
            source = error.source();
        }
        assert!(text.contains(expected), "{name}: {text}");
        let left: Vec<_> = fixture.files();
        assert!(left.iter().all(|name| !name.starts_with("tmp/")), "{name}: {left:?}");
        // Layers that were right may stay for the next collection; no document may.
        drop(fixture.store.remove_unreferenced(Vec::new).unwrap());
        assert_eq!(fixture.files(), [""; 0], "{name}");
    }
}

//! Images judged by erofs-utils and, as root, by the host's kernel.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use bulkhead_erofs::{Attribute, DirectoryId, FileType, Found, Identity, Image, Metadata, Special, Writer};

const INSTALL_HINT: &str = "erofs-utils is missing: apt-get install erofs-utils";

struct Built {
    directory: tempfile::TempDir,
    image: PathBuf,
}

fn build(fill: impl FnOnce(&mut Writer)) -> Built {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image.erofs");
    let file = File::options().read(true).write(true).create_new(true).open(&image).unwrap();
    let mut writer = Writer::new(file).unwrap();
    fill(&mut writer);
    let summary = writer.finish(Identity { uuid: [7; 16], label: *b"test\0\0\0\0\0\0\0\0\0\0\0\0" }).unwrap();
    assert_eq!(summary.length_bytes, fs::metadata(&image).unwrap().len());
    Built { directory, image }
}

impl Built {
    /// Runs fsck.erofs and returns the tree that it extracted.
    fn extract(&self) -> PathBuf {
        let target = self.directory.path().join("extracted");
        let output = Command::new("fsck.erofs")
            .arg(format!("--extract={}", target.display()))
            .arg(&self.image)
            .output()
            .expect(INSTALL_HINT);
        let text = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "fsck.erofs: {}", String::from_utf8_lossy(&text));
        target
    }

    /// Calls `check` with the image mounted by the kernel, in a mount namespace of its own; needs root.
    fn mounted(&self, check: impl FnOnce(&Path) + Send) {
        assert!(rustix::process::geteuid().is_root(), "this test mounts: run it as root (sudo make test)");
        let target = self.directory.path().join("mounted");
        fs::create_dir(&target).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                // SAFETY: the thread ends after the check; no other code of it relies on the old namespace.
                unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }.unwrap();
                use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
                mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE).unwrap();
                let output = Command::new("mount")
                    .args(["-t", "erofs", "-o", "loop,ro"])
                    .args([&self.image, &target])
                    .output()
                    .unwrap();
                assert!(output.status.success(), "mount: {}", String::from_utf8_lossy(&output.stderr));
                check(&target);
                unmount(&target, UnmountFlags::DETACH).unwrap();
            });
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        });
    }

    fn image(&self) -> Image {
        Image::open(File::open(&self.image).unwrap()).unwrap()
    }
}

fn metadata(permissions: u16, seconds: i64) -> Metadata {
    Metadata { modified_seconds: seconds, ..Metadata::with_permissions(permissions) }
}

fn add_file(writer: &mut Writer, parent: DirectoryId, name: &[u8], metadata: &Metadata, content: &[u8]) {
    let mut file = writer.create_file(parent, name, metadata).unwrap();
    // Odd pieces, to cross block boundaries in every way.
    for piece in content.chunks(1777) {
        file.write(piece).unwrap();
    }
    file.finish().unwrap();
}

fn content(seed: usize, length: usize) -> Vec<u8> {
    (0..length).map(|index| u8::try_from((index * 31 + seed * 7 + index / 251) % 255 + 1).unwrap()).collect()
}

/// All files of a tree with what must be equal: type, mode, owner, time, size, links, content or target.
fn survey(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut found = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(path) = pending.pop() {
        let stat = fs::symlink_metadata(&path).unwrap();
        let kind = stat.file_type();
        let detail = if kind.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            String::new()
        } else if kind.is_symlink() {
            format!("{:?}", fs::read_link(&path).unwrap())
        } else if kind.is_file() {
            let bytes = fs::read(&path).unwrap();
            format!("{} bytes, hash {}", bytes.len(), hash(&bytes))
        } else {
            assert!(kind.is_char_device() || kind.is_block_device() || kind.is_fifo() || kind.is_socket());
            format!("device {:x}", stat.rdev())
        };
        let text = format!(
            "{:o} {}:{} {}.{} {} links {detail}",
            stat.mode(),
            stat.uid(),
            stat.gid(),
            stat.mtime(),
            stat.mtime_nsec(),
            stat.nlink()
        );
        found.insert(path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec(), text);
    }
    found
}

/// FNV-1a
fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

#[test]
fn every_size_around_block_boundaries_survives() {
    let sizes: Vec<usize> = [0, 1, 31, 32, 100, 2048, 4000, 4031, 4032, 4033, 4064, 4065, 4095, 4096, 4097]
        .into_iter()
        .chain([8191, 8192, 8193, 12_000, 65_536, 1 << 20, (1 << 20) + 1, 3_000_001])
        .collect();
    let built = build(|writer| {
        for (index, size) in sizes.iter().enumerate() {
            let seconds = if index % 2 == 0 { 0 } else { 1_700_000_000 };
            let name = format!("f{size}");
            add_file(
                writer,
                Writer::ROOT,
                name.as_bytes(),
                &metadata(0o644, seconds),
                &content(index, *size),
            );
        }
    });
    let check = |root: &Path| {
        for (index, size) in sizes.iter().enumerate() {
            assert_eq!(fs::read(root.join(format!("f{size}"))).unwrap(), content(index, *size), "{size}");
        }
    };
    check(&built.extract());
    built.mounted(check);
    let image = built.image();
    for (index, size) in sizes.iter().enumerate() {
        let stat = image.lookup(format!("/f{size}").as_bytes()).unwrap().unwrap();
        assert_eq!(image.content(&stat, u64::MAX).unwrap(), content(index, *size));
    }
}

#[test]
fn metadata_links_and_special_files_survive() {
    let capability = Attribute {
        name: b"security.capability".to_vec(),
        value: b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec(),
    };
    let opaque = Attribute { name: b"trusted.overlay.opaque".to_vec(), value: b"y".to_vec() };
    let large = Attribute { name: b"user.large".to_vec(), value: content(9, 9000) };
    let built = build(|writer| {
        let root = Metadata { uid: 3, attributes: vec![opaque.clone()], ..metadata(0o1777, -5) };
        writer.set_directory_metadata(Writer::ROOT, root).unwrap();
        let big_owner = Metadata {
            uid: 4_000_000_000,
            gid: 100_000,
            modified_nanoseconds: 123_456_789,
            attributes: vec![capability.clone()],
            ..metadata(0o4755, 1_600_000_000)
        };
        add_file(writer, Writer::ROOT, b"setuid", &big_owner, b"program");
        let with_large = Metadata { attributes: vec![large.clone()], ..metadata(0o600, 1) };
        add_file(writer, Writer::ROOT, b"large-attribute", &with_large, &content(1, 5000));
        let directory = writer.create_directory(
            Writer::ROOT,
            b"dir",
            Metadata { attributes: vec![opaque.clone()], ..metadata(0o2750, 77) },
        );
        let directory = directory.unwrap();
        let Some(Found::Node(node, FileType::Regular)) = writer.lookup(Writer::ROOT, b"setuid") else {
            panic!("the file was not found")
        };
        writer.link(directory, b"second", node).unwrap();
        writer.link(directory, b"third", node).unwrap();
        add_file(writer, directory, b"compact", &metadata(0o644, 0), b"x");
        let Some(Found::Node(node, _)) = writer.lookup(directory, b"compact") else { panic!("not found") };
        writer.link(directory, b"compact2", node).unwrap();
        let target = [b'a'; 4095];
        for (name, target) in
            [(&b"short"[..], &b"../etc"[..]), (b"long", &target), (b"middle", &target[..4032])]
        {
            writer.create_symlink(directory, name, &metadata(0o777, 5), target).unwrap();
        }
        for (name, special) in [
            (&b"null"[..], Special::CharacterDevice { major: 1, minor: 3 }),
            (b"whiteout", Special::CharacterDevice { major: 0, minor: 0 }),
            (b"disk", Special::BlockDevice { major: 4095, minor: 1_048_575 }),
            (b"fifo", Special::Fifo),
            (b"socket", Special::Socket),
        ] {
            writer.create_special(directory, name, &metadata(0o666, 9), special).unwrap();
        }
        writer.create_directory(directory, b"gone", metadata(0o755, 0)).unwrap();
        let Some(Found::Directory(gone)) = writer.lookup(directory, b"gone") else { panic!("not found") };
        add_file(writer, gone, b"below", &metadata(0o644, 0), b"z");
        assert!(writer.remove(directory, b"gone"));
        assert!(!writer.remove(directory, b"gone"));
        assert!(writer.link(directory, b"short", node).is_err());
    });
    let expected: Vec<(&[u8], &str)> = vec![
        (b"dir", "42750 0:0 77.0 2 links "),
        (b"dir/compact", "100644 0:0 0.0 2 links 1 bytes"),
        (b"dir/compact2", "100644 0:0 0.0 2 links 1 bytes"),
        (b"dir/disk", "60666 0:0 9.0 1 links device ffffffff"),
        (b"dir/fifo", "10666 0:0 9.0 1 links device 0"),
        (b"dir/long", "120777 0:0 5.0 1 links"),
        (b"dir/middle", "120777 0:0 5.0 1 links"),
        (b"dir/null", "20666 0:0 9.0 1 links device 103"),
        (b"dir/second", "104755 4000000000:100000 1600000000.123456789 3 links 7 bytes"),
        (b"dir/short", "120777 0:0 5.0 1 links \"../etc\""),
        (b"dir/socket", "140666 0:0 9.0 1 links device 0"),
        (b"dir/third", "104755 4000000000:100000 1600000000.123456789 3 links 7 bytes"),
        (b"dir/whiteout", "20666 0:0 9.0 1 links device 0"),
        (b"large-attribute", "100600 0:0 1.0 1 links 5000 bytes"),
        (b"setuid", "104755 4000000000:100000 1600000000.123456789 3 links 7 bytes"),
    ];
    built.mounted(|root| {
        let found = survey(root);
        assert_eq!(found[&b""[..]], "41777 3:0 -5.0 3 links ");
        assert_eq!(found.len(), expected.len() + 1);
        for (path, text) in &expected {
            let actual = &found[*path];
            let device = text.strip_prefix("60666").map(|_| "60666 0:0 9.0 1 links device");
            let wanted = device.unwrap_or(text);
            assert!(actual.starts_with(wanted), "{}: {actual}", path.escape_ascii());
        }
        let attribute = |path: &str, name: &str| {
            let mut value = vec![0; 70_000];
            let length = rustix::fs::lgetxattr(root.join(path), name, &mut value[..]).unwrap();
            value.truncate(length);
            value
        };
        assert_eq!(attribute("setuid", "security.capability"), capability.value);
        assert_eq!(attribute("dir", "trusted.overlay.opaque"), b"y");
        assert_eq!(attribute("", "trusted.overlay.opaque"), b"y");
        assert_eq!(attribute("large-attribute", "user.large"), large.value);
        assert_eq!(fs::read(root.join("large-attribute")).unwrap(), content(1, 5000));
    });
    let image = built.image();
    let stat = image.lookup(b"dir/second").unwrap().unwrap();
    assert_eq!((stat.links, stat.metadata.uid), (3, 4_000_000_000));
    assert_eq!(stat.metadata.attributes, [capability]);
    assert_eq!(image.root().unwrap().metadata.modified_seconds, -5);
    assert!(image.lookup(b"dir/gone").unwrap().is_none());
    assert!(image.lookup(b"setuid/x").unwrap().is_none());
    assert_eq!(image.entries(&image.lookup(b"dir").unwrap().unwrap()).unwrap().len(), 12);
    assert_eq!(&image.identity().label[..4], b"test");
}

#[test]
fn large_directories_and_deep_trees_survive() {
    // fsck.erofs recurses with large frames and overflows its stack at about 900.
    const DEPTH: usize = 600;
    let names: Vec<String> = (0..20_000)
        .map(|index| format!("{}-{index}", "!-.x~"[index % 5..].chars().next().unwrap()))
        .collect();
    let built = build(|writer| {
        let wide = writer.create_directory(Writer::ROOT, b"wide", metadata(0o755, 3)).unwrap();
        for (index, name) in names.iter().enumerate() {
            add_file(writer, wide, name.as_bytes(), &metadata(0o644, 3), &content(index, index % 300));
        }
        for length in 1..=255 {
            let name = vec![b'n'; length];
            writer.create_directory(wide, &name, metadata(0o755, 0)).unwrap();
        }
        let mut deep = Writer::ROOT;
        for _ in 0..DEPTH {
            deep = writer.create_directory(deep, b"d", metadata(0o755, 0)).unwrap();
        }
        add_file(writer, deep, b"bottom", &metadata(0o644, 0), b"here");
    });
    let path = format!("{}bottom", "d/".repeat(DEPTH));
    let check = |root: &Path| {
        assert_eq!(fs::read(root.join(&path)).unwrap(), b"here");
        assert_eq!(fs::read_dir(root.join("wide")).unwrap().count(), 20_255);
        for (index, name) in names.iter().enumerate().step_by(97) {
            assert_eq!(
                fs::read(root.join("wide").join(name)).unwrap(),
                content(index, index % 300),
                "{name}"
            );
        }
        for name in names.iter().chain([&"n".repeat(255)]) {
            // Looks the name up, other than the listing above: needs the right order.
            assert!(root.join("wide").join(name).symlink_metadata().is_ok(), "{name}");
        }
    };
    check(&built.extract());
    built.mounted(check);
    assert!(built.image().lookup(path.as_bytes()).unwrap().is_some());
}

#[test]
fn holes_take_no_space_and_read_as_zeros() {
    let built = build(|writer| {
        let stat = metadata(0o644, 1);
        let mut file = writer.create_file(Writer::ROOT, b"sparse", &stat).unwrap();
        file.write(b"start").unwrap();
        file.write_zeros((1 << 30) - 5).unwrap();
        file.write(b"end").unwrap();
        file.finish().unwrap();
        let mut file = writer.create_file(Writer::ROOT, b"zeros", &stat).unwrap();
        for _ in 0..64 {
            file.write(&[0; 1 << 20]).unwrap();
        }
        file.write_zeros(10).unwrap();
        file.finish().unwrap();
        // An abandoned file leaves nothing behind.
        let mut file = writer.create_file(Writer::ROOT, b"abandoned", &stat).unwrap();
        file.write(&content(0, 10_000)).unwrap();
        drop(file);
        add_file(writer, Writer::ROOT, b"after", &stat, &content(3, 10_000));
    });
    let stat = fs::metadata(&built.image).unwrap();
    assert!(stat.blocks() * 512 < 1 << 20, "{} blocks", stat.blocks());
    let image = built.image();
    assert!(image.lookup(b"abandoned").unwrap().is_none());
    assert_eq!(image.lookup(b"sparse").unwrap().unwrap().size_bytes, (1 << 30) + 3);
    built.mounted(|root| {
        use std::os::unix::fs::FileExt;
        let file = File::open(root.join("sparse")).unwrap();
        let mut bytes = [1; 8];
        file.read_exact_at(&mut bytes, (1 << 30) - 5).unwrap();
        assert_eq!(&bytes, b"\0\0\0\0\0end");
        assert_eq!(fs::read(root.join("after")).unwrap(), content(3, 10_000));
        assert_eq!(hash(&fs::read(root.join("zeros")).unwrap()), hash(&vec![0; (64 << 20) + 10]));
    });
    let output = Command::new("fsck.erofs").arg(&built.image).output().expect(INSTALL_HINT);
    assert!(output.status.success());
    let output = Command::new("dump.erofs").arg("-s").arg(&built.image).output().expect(INSTALL_HINT);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_same_calls_make_the_same_bytes() {
    let fill = |writer: &mut Writer| {
        for index in 0..3000 {
            let name = format!("file{}", (index * 7919) % 3000);
            add_file(writer, Writer::ROOT, name.as_bytes(), &metadata(0o644, index), &content(0, 100));
        }
    };
    assert_eq!(fs::read(build(fill).image).unwrap(), fs::read(build(fill).image).unwrap());
}

#[test]
fn damaged_images_are_refused_and_never_panic() {
    let built = build(|writer| {
        let directory = writer.create_directory(Writer::ROOT, b"d", metadata(0o755, 1)).unwrap();
        add_file(writer, directory, b"f", &metadata(0o644, 1), &content(1, 5000));
    });
    let good = fs::read(&built.image).unwrap();
    let path = built.directory.path().join("damaged");
    let open = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        Image::open(File::open(&path).unwrap())
    };
    assert!(open(&good[..good.len() - 4096]).is_err());
    assert!(open(&[]).is_err());
    for position in (1024..good.len()).step_by(3) {
        let mut bytes = good.clone();
        bytes[position] ^= 0xff;
        if let Ok(image) = open(&bytes)
            && let Ok(Some(stat)) = image.lookup(b"d/f")
        {
            drop(image.content(&stat, 1 << 20));
        }
    }
}

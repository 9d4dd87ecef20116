//! Does a container see what podman unpacks? One image of all that is odd in layers (F44 to F46), and a real one.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use bulkhead_tests::{Installation, digest, run_with_deadline, write_layers};
use rustix::fs::{lgetxattr, llistxattr};
use tar::EntryType;

const MTIME: u64 = 1_600_000_000;

/// All that can be told of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node {
    kind: &'static str,
    mode: u32,
    owner: (u32, u32),
    mtime: i64,
    size: u64,
    device: u64,
    target: String,
    content: String,
    /// The first of the names that it has.
    first_name: String,
    attributes: BTreeMap<String, Vec<u8>>,
}

type Tree = BTreeMap<String, Node>;

fn walk(root: &Path) -> Tree {
    let (mut tree, mut pending, mut names) = (Tree::new(), vec![PathBuf::new()], HashMap::new());
    while let Some(folder) = pending.pop() {
        let mut paths: Vec<PathBuf> = fs::read_dir(root.join(&folder))
            .unwrap()
            .map(|entry| folder.join(entry.unwrap().file_name()))
            .collect();
        paths.sort();
        for path in paths {
            let full = root.join(&path);
            let node = node(&full);
            if node.kind == "directory" {
                pending.push(path.clone());
            }
            let inode = fs::symlink_metadata(&full).unwrap().ino();
            let name = path.as_os_str().as_bytes().escape_ascii().to_string();
            let first: &mut String = names.entry(inode).or_insert_with(|| name.clone());
            if name < *first {
                first.clone_from(&name);
            }
            tree.insert(name.clone(), Node { first_name: inode.to_string(), ..node });
        }
    }
    for node in tree.values_mut() {
        node.first_name = names[&node.first_name.parse::<u64>().unwrap()].clone();
    }
    tree
}

fn node(path: &Path) -> Node {
    let metadata = fs::symlink_metadata(path).unwrap();
    let kind = metadata.file_type();
    let mut node = Node {
        mode: metadata.mode() & 0o7777,
        owner: (metadata.uid(), metadata.gid()),
        mtime: metadata.mtime(),
        attributes: attributes(path),
        ..Node::default()
    };
    node.kind = if kind.is_dir() {
        "directory"
    } else if kind.is_symlink() {
        node.target = fs::read_link(path).unwrap().as_os_str().as_bytes().escape_ascii().to_string();
        "symbolic link"
    } else if kind.is_fifo() {
        "fifo"
    } else if kind.is_char_device() {
        node.device = metadata.rdev();
        "character device"
    } else if kind.is_block_device() {
        node.device = metadata.rdev();
        "block device"
    } else {
        node.size = metadata.len();
        node.content = digest(&fs::read(path).unwrap());
        "file"
    };
    node
}

fn attributes(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut list = vec![0; 64 << 10];
    let length = llistxattr(path, &mut list[..]).unwrap();
    let names = list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let mut value = vec![0; 64 << 10];
            let length = lgetxattr(path, CString::new(name).unwrap(), &mut value[..]).unwrap();
            value.truncate(length);
            (String::from_utf8(name.to_vec()).unwrap(), value)
        })
        .collect()
}

fn podman(folder: &Path, arguments: &[&str]) -> String {
    let option = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let mut command = Command::new("podman");
    command.args(["--root", &option("root"), "--runroot", &option("run"), "--storage-driver", "vfs"]);
    let outcome = run_with_deadline(command.args(arguments), b"");
    assert_eq!(outcome.code, 0, "podman {arguments:?} (apt-get install podman): {outcome:?}");
    outcome.text().trim_end().to_owned()
}

/// What podman makes of an archive.
fn unpacked_by_podman(installation: &Installation, archive: &Path) -> Tree {
    let folder = installation.folder().join("podman");
    let loaded = podman(&folder, &["load", "--quiet", "--input", archive.to_str().unwrap()]);
    let image = loaded.lines().last().unwrap().rsplit(": ").next().unwrap().to_owned();
    let mounted = podman(&folder, &["image", "mount", &image]);
    let tree = walk(Path::new(&mounted));
    podman(&folder, &["image", "unmount", "--all"]);
    tree
}

/// What a container sees.
fn seen_by_a_container(installation: &Installation, archive: &Path) -> Tree {
    let loaded = installation.run_ok(&["image", "load", "--input", archive.to_str().unwrap()]);
    let image = loaded.lines().next().unwrap().to_owned();
    installation.run_ok(&["create", "--name", "seen", &image, "/true"]);
    let exported = installation.folder().join("exported.tar");
    installation.run_ok(&["export", "--output", exported.to_str().unwrap(), "seen"]);
    let folder = installation.folder().join("exported");
    fs::create_dir(&folder).unwrap();
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--numeric-owner", "--preserve-permissions", "--same-owner"]);
    tar.args(["--xattrs", "--xattrs-include=*", "--file"]).arg(&exported).arg("--directory").arg(&folder);
    let outcome = run_with_deadline(&mut tar, b"");
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let tree = walk(&folder);
    fs::remove_file(&exported).unwrap();
    tree
}

/// Whether what differs is meant to.
fn is_intended(our: &Node, their: &Node) -> bool {
    let mut same = our.clone();
    // What an unpacker changes in a directory after it was described, or where it never was, shows in its time. A
    // layer here has the time that it says, or none, so that the same image is the same everywhere.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed();
    if our.kind == "directory" && (now - 600..=now).contains(&their.mtime) {
        same.mtime = their.mtime;
    }
    // podman's driver "vfs" copies each layer for the next one, and keeps hard links between regular files alone.
    if our.kind != "file" {
        same.first_name.clone_from(&their.first_name);
    }
    same == *their
}

/// Lists what differs and is not meant to.
fn differences(ours: &Tree, theirs: &Tree) -> Vec<String> {
    let names: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let mut found = Vec::new();
    for name in names {
        match (ours.get(name), theirs.get(name)) {
            (Some(our), Some(their)) if is_intended(our, their) => {}
            (Some(our), Some(their)) => found.push(format!("{name}:\n  {our:?}\n  {their:?}")),
            (our, their) => found.push(format!("{name}: {our:?} instead of {their:?}")),
        }
    }
    found
}

/// A layer, entry by entry.
struct Layer(tar::Builder<Vec<u8>>);

/// An entry; the rest is as usual.
#[derive(Clone)]
struct Entry<'a> {
    kind: EntryType,
    mode: u32,
    owner: (u64, u64),
    mtime: u64,
    link: &'a [u8],
    data: &'a [u8],
    device: (u32, u32),
    records: Vec<(&'a str, &'a [u8])>,
}

fn file(data: &[u8]) -> Entry<'_> {
    Entry {
        kind: EntryType::Regular,
        mode: 0o644,
        owner: (0, 0),
        mtime: MTIME,
        link: b"",
        data,
        device: (0, 0),
        records: Vec::new(),
    }
}

fn directory(mode: u32) -> Entry<'static> {
    Entry { kind: EntryType::Directory, mode, ..file(b"") }
}

fn link(kind: EntryType, target: &[u8]) -> Entry<'_> {
    Entry { kind, link: target, mode: 0o777, ..file(b"") }
}

/// It has the mode of its target, as tar writes it: podman would change the target to another one.
fn hard_link(target: &[u8]) -> Entry<'_> {
    Entry { mode: 0o644, ..link(EntryType::Link, target) }
}

fn device(kind: EntryType, major: u32, minor: u32) -> Entry<'static> {
    Entry { kind, device: (major, minor), mode: 0o640, ..file(b"") }
}

impl Layer {
    fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    /// Paths and targets that do not fit go into records, as usual.
    fn put(&mut self, path: impl AsRef<[u8]>, entry: Entry<'_>) {
        let path = path.as_ref();
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(entry.kind);
        header.set_mode(entry.mode);
        header.set_uid(entry.owner.0);
        header.set_gid(entry.owner.1);
        header.set_mtime(entry.mtime);
        header.set_size(entry.data.len() as u64);
        let mut records = entry.records.clone();
        let old = header.as_old_mut();
        for (text, field, key) in [(path, &mut old.name, "path"), (entry.link, &mut old.linkname, "linkpath")]
        {
            let fits = text.len().min(field.len());
            field[..fits].copy_from_slice(&text[..fits]);
            if fits < text.len() {
                records.push((key, text));
            }
        }
        if entry.device != (0, 0) {
            header.set_device_major(entry.device.0).unwrap();
            header.set_device_minor(entry.device.1).unwrap();
        }
        header.set_cksum();
        if !records.is_empty() {
            self.0.append_pax_extensions(records).unwrap();
        }
        self.0.append(&header, entry.data).unwrap();
    }

    fn finish(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// Without paths that come twice, which podman refuses (tar-split): `crates/image-store/tests/layers.rs` has them.
fn lowest_layer() -> Vec<u8> {
    let mut layer = Layer::new();
    let long = format!("long/{}/{}", "d".repeat(150), "n".repeat(250));
    layer.put("kinds/", directory(0o755));
    layer.put("kinds/setuid", Entry { mode: 0o4755, owner: (0, 50), ..file(b"program") });
    layer.put("kinds/setgid/", Entry { mode: 0o2775, owner: (7, 8), ..directory(0) });
    layer.put("kinds/sticky/", directory(0o1777));
    layer.put("kinds/no-mode", Entry { mode: 0, ..file(b"secret") });
    layer.put("kinds/owner", Entry { owner: (1_000_000, 2_097_151), ..file(b"x") });
    layer.put("kinds/large-owner", Entry { owner: (3_000_000_000, 4_000_000_000), ..file(b"x") });
    let uid = ("uid", b"123456789".as_slice());
    layer.put("kinds/owner-in-record", Entry { records: vec![uid, ("gid", b"987654321")], ..file(b"x") });
    layer.put("kinds/empty", file(b""));
    layer.put("kinds/fifo", device(EntryType::Fifo, 0, 0));
    layer.put("kinds/character", device(EntryType::Char, 1, 3));
    layer.put("kinds/block", device(EntryType::Block, 259, 300_000));
    layer.put("kinds/old", Entry { mtime: 0, ..file(b"1970") });
    layer.put("kinds/future", Entry { mtime: 4_102_444_800, ..file(b"2100") });
    layer.put("kinds/exact", Entry { records: vec![("mtime", b"1500000000.25".as_slice())], ..file(b"x") });
    layer.put("kinds/tagged", Entry { records: vec![("SCHILY.xattr.user.tag", b"v\0\xff")], ..file(b"x") });
    layer.put(
        "kinds/tagged-directory/",
        Entry { records: vec![("SCHILY.xattr.user.tag", b"d")], ..directory(0o700) },
    );
    // cap_net_raw+ep, second revision
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0".as_slice();
    layer.put(
        "kinds/capable",
        Entry { records: vec![("SCHILY.xattr.security.capability", capability)], mode: 0o755, ..file(b"x") },
    );
    layer.put("names/", directory(0o755));
    layer.put("./names/./dot", file(b"1"));
    layer.put("/names/absolute", file(b"2"));
    layer.put("names//slashes", file(b"3"));
    layer.put("names/x/../parent", file(b"4"));
    layer.put("names/with space\tand\nnewline", file(b"5"));
    layer.put(b"names/not-utf8-\xff\xfe", file(b"6"));
    layer.put("names/ünïcode", file(b"7"));
    layer.put("names/-rf", file(b"8"));
    layer.put("names/back\\slash", file(b"9"));
    layer.put(&long, file(b"long"));
    layer.put("links/", directory(0o755));
    layer.put("links/target", file(b"target"));
    layer.put("links/hard", hard_link(b"links/target"));
    layer.put("links/hard-absolute", hard_link(b"/links/target"));
    layer.put("links/long", link(EntryType::Symlink, "t".repeat(500).as_bytes()));
    layer.put("links/absolute", link(EntryType::Symlink, b"/links/target"));
    layer.put("links/outside", link(EntryType::Symlink, b"../../../../etc/passwd"));
    layer.put("links/dangling", link(EntryType::Symlink, b"nowhere"));
    layer.put("links/hard-to-link", Entry { mode: 0o777, ..hard_link(b"links/dangling") });
    layer.put("links/hard-to-fifo", Entry { mode: 0o640, ..hard_link(b"kinds/fifo") });
    layer.put("through/real/", directory(0o755));
    layer.put("through/link", link(EntryType::Symlink, b"real"));
    layer.put("through/link/written", file(b"through a link of the same layer"));
    layer.put("implicit/one/two/file", file(b"nobody described these directories"));
    for name in ["gone", "again", "kept", "folder/inside", "link-target"] {
        layer.put(format!("whiteouts/{name}"), file(b"lower"));
    }
    layer.put("whiteouts/link", link(EntryType::Symlink, b"link-target"));
    layer.put("opaque/old", file(b"lower"));
    layer.put("opaque/deep/old", file(b"lower"));
    layer.put("changes/", directory(0o755));
    layer.put("changes/file-to-directory", file(b"lower"));
    layer.put("changes/directory-to-file/inside", file(b"lower"));
    layer.put("changes/directory-to-link/inside", file(b"lower"));
    layer.put("changes/real/inside", file(b"lower"));
    layer.put("changes/link-to-directory", link(EntryType::Symlink, b"real"));
    layer.put("changes/link-to-file", link(EntryType::Symlink, b"real"));
    layer.put("changes/mode/", directory(0o755));
    layer.put("changes/mode/inside", file(b"lower"));
    layer.put("changes/one", file(b"lower"));
    layer.put("changes/two", hard_link(b"changes/one"));
    layer.put("sticky/", Entry { owner: (5, 6), ..directory(0o1777) });
    layer.finish()
}

fn upper_layer() -> Vec<u8> {
    let mut layer = Layer::new();
    layer.put("whiteouts/.wh.gone", file(b""));
    layer.put("whiteouts/.wh.never-there", file(b""));
    layer.put("whiteouts/.wh.again", file(b""));
    layer.put("whiteouts/again", file(b"upper"));
    layer.put("whiteouts/.wh.folder", file(b""));
    layer.put("whiteouts/.wh.link", file(b""));
    layer.put("opaque/", directory(0o750));
    layer.put("opaque/before", file(b"upper"));
    layer.put("opaque/.wh..wh..opq", file(b""));
    layer.put("opaque/after", file(b"upper"));
    layer.put("changes/file-to-directory/", directory(0o755));
    layer.put("changes/file-to-directory/inside", file(b"upper"));
    layer.put("changes/directory-to-file", file(b"upper"));
    layer.put("changes/directory-to-link", link(EntryType::Symlink, b"real"));
    layer.put("changes/link-to-directory/", directory(0o711));
    layer.put("changes/link-to-file", file(b"upper"));
    layer.put("changes/mode/", Entry { owner: (9, 9), mtime: MTIME + 9, ..directory(0o700) });
    layer.put("changes/one", file(b"upper"));
    layer.put("sticky/file", file(b"the directory is not described"));
    layer.finish()
}

fn highest_layer() -> Vec<u8> {
    let mut layer = Layer::new();
    layer.put("opaque/deep/new", file(b"highest"));
    layer.put("whiteouts/gone", file(b"back again"));
    layer.put("whiteouts/.wh.kept", file(b""));
    layer.put("changes/directory-to-file/", directory(0o755));
    layer.put("changes/directory-to-file/inside", file(b"a directory again"));
    layer.finish()
}

#[test]
fn what_is_odd_in_layers_is_what_podman_makes_of_it() {
    let installation = Installation::new();
    let layers = [lowest_layer(), upper_layer(), highest_layer()];
    let archive = write_layers(installation.folder(), "odd", "amd64", &layers);
    let theirs = unpacked_by_podman(&installation, &archive);
    let ours = seen_by_a_container(&installation, &archive);
    assert!(ours.len() > 60, "{}", ours.len());
    let found = differences(&ours, &theirs);
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
}

#[test]
fn the_debian_image_is_what_podman_makes_of_it() {
    let installation = Installation::new();
    let archive = installation.debian_archive();
    let theirs = unpacked_by_podman(&installation, &archive);
    let ours = seen_by_a_container(&installation, &archive);
    assert!(ours.len() > 1000, "{}", ours.len());
    let found = differences(&ours, &theirs);
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
}

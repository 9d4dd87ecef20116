//! Trees there and back, and streams that want out of their destination.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use bulkhead_archive::tar::{Entry, Kind, Reader, Writer};
use bulkhead_archive::tree::{
    ExtractOptions, Links, Placement, Scope, Skipped, Top, TreeError, extract, pack,
};

const HOST: ExtractOptions = ExtractOptions {
    keep_owner: false,
    special_files: false,
    user_attributes_only: true,
    links: Links::Refuse,
};
const COPY: Placement<'_> = Placement::Copy { source_name: b"src", contents_only: false };

fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_encoded_bytes().to_vec()
}

fn packed(path: &Path) -> Result<Vec<u8>, TreeError> {
    let mut writer = Writer::new(Vec::new());
    pack(&Top::find(&bytes(path), false)?, b".", Scope::Everything, &mut writer, &mut |_| {})?;
    Ok(writer.finish().unwrap())
}

fn extracted(stream: &[u8], path: &Path, options: ExtractOptions) -> Result<Vec<Skipped>, TreeError> {
    let mut skipped = Vec::new();
    extract(&mut Reader::new(stream), &bytes(path), COPY, options, &mut |one| skipped.push(one))?;
    Ok(skipped)
}

fn entry(kind: Kind, path: &str, target: &str) -> Entry {
    Entry {
        kind,
        path: path.into(),
        link_target: target.into(),
        permissions: 0o4755,
        uid: 0,
        gid: 0,
        modified_seconds: 1_000_000,
        modified_nanoseconds: 0,
        size_bytes: if kind == Kind::File { 4 } else { 0 },
        device: (1, 3),
        attributes: Default::default(),
    }
}

/// A stream as a hostile guest could write it: the top, then these.
fn hostile(entries: &[Entry]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    writer.begin(&entry(Kind::Directory, "./", ""), None).unwrap();
    for one in entries {
        writer.begin(one, None).unwrap();
        writer.write_content(b"evil").unwrap();
    }
    writer.finish().unwrap()
}

#[test]
fn a_tree_comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    let deep = source.join("d".repeat(90)).join("e".repeat(90));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("file"), vec![7; 300_000]).unwrap();
    fs::hard_link(deep.join("file"), source.join("same")).unwrap();
    symlink("/etc/passwd", source.join("link")).unwrap();
    let sparse = File::create(source.join("sparse")).unwrap();
    sparse.set_len(1 << 40).unwrap();
    sparse.write_all_at(b"in the middle", 1 << 39).unwrap();
    fs::set_permissions(source.join("sparse"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::create_dir(source.join("closed")).unwrap();
    fs::write(source.join("closed/inside"), "x").unwrap();
    fs::set_permissions(source.join("closed"), fs::Permissions::from_mode(0o1500)).unwrap();

    let stream = packed(&source).unwrap();
    assert_eq!(stream, packed(&source).unwrap(), "the order is fixed");
    assert!(stream.len() < 2 << 20, "{} bytes", stream.len());
    let target = folder.path().join("made/target");
    assert_eq!(extracted(&stream, &target, HOST).unwrap(), []);
    let same = fs::metadata(target.join("same")).unwrap();
    let file = target.join("d".repeat(90)).join("e".repeat(90)).join("file");
    assert_eq!(same.ino(), fs::metadata(&file).unwrap().ino());
    assert_eq!(fs::read(&file).unwrap(), vec![7; 300_000]);
    assert_eq!(fs::read_link(target.join("link")).unwrap(), Path::new("/etc/passwd"));
    let sparse = File::open(target.join("sparse")).unwrap();
    let metadata = sparse.metadata().unwrap();
    assert_eq!((metadata.len(), metadata.mode() & 0o7777), (1 << 40, 0o640));
    assert!(metadata.blocks() * 512 < 1 << 20, "{} blocks", metadata.blocks());
    let mut middle = [0; 13];
    sparse.read_exact_at(&mut middle, 1 << 39).unwrap();
    assert_eq!(&middle, b"in the middle");
    let closed = fs::metadata(target.join("closed")).unwrap();
    assert_eq!(closed.mode() & 0o7777, 0o1500);
    let original = fs::metadata(source.join("closed")).unwrap();
    assert_eq!(closed.mtime(), original.mtime(), "set after the contents");
}

#[test]
fn tar_reads_what_is_packed() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    fs::create_dir_all(source.join("a")).unwrap();
    fs::write(source.join("a/file"), "content").unwrap();
    let sparse = File::create(source.join("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    sparse.write_all_at(b"end", (64 << 20) - 3).unwrap();
    symlink("a/file", source.join("link")).unwrap();
    let stream = packed(&source).unwrap();
    let target = folder.path().join("target");
    fs::create_dir(&target).unwrap();
    let mut tar = std::process::Command::new("tar")
        .args(["-x", "-C"])
        .arg(&target)
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("tar is missing: apt-get install tar");
    tar.stdin.take().unwrap().write_all(&stream).unwrap();
    assert!(tar.wait().unwrap().success());
    let compared = std::process::Command::new("diff")
        .args(["-r", "--no-dereference"])
        .args([&source, &target])
        .status()
        .expect("diff is missing: apt-get install diffutils");
    assert!(compared.success());
}

/// An archive has the size before the content.
#[test]
fn files_that_do_not_tell_their_size_are_read_to_their_end() {
    let folder = tempfile::tempdir().unwrap();
    for path in ["/proc/version", "/proc/self/maps", "/sys/devices/system/cpu/online"] {
        let target = folder.path().join("target");
        extracted(&packed(Path::new(path)).unwrap(), &target, HOST).unwrap();
        let copied = fs::read(&target).unwrap();
        assert!(copied.len() > 1 && !copied.contains(&0), "{path}: {}", copied.escape_ascii());
        if path != "/proc/self/maps" {
            assert_eq!(copied, fs::read(path).unwrap(), "{path}");
        }
    }
    // The pages of the whole address space, and memory from an address where there is none.
    let outcome = packed(Path::new("/proc/self/pagemap"));
    assert!(matches!(outcome, Err(TreeError::Unsized { .. })), "{outcome:?}");
    let outcome = packed(Path::new("/proc/self/mem"));
    assert!(matches!(outcome, Err(TreeError::Read { .. })), "{outcome:?}");
    // Of everything that a process has, the same is left out.
    let process = format!("/proc/{}", std::process::id());
    let target = folder.path().join("process");
    extracted(&packed(Path::new(&process)).unwrap(), &target, HOST).unwrap();
    assert!(fs::read_to_string(target.join("status")).unwrap().contains("\nPid:"));
    assert!(!target.join("mem").exists() && !target.join("pagemap").exists());
    fs::write(folder.path().join("empty"), "").unwrap();
    extracted(&packed(&folder.path().join("empty")).unwrap(), &folder.path().join("again"), HOST).unwrap();
    assert_eq!(fs::read(folder.path().join("again")).unwrap(), b"");
}

#[test]
fn f58_nothing_leaves_the_destination() {
    let folder = tempfile::tempdir().unwrap();
    let outside = folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "good").unwrap();
    let outside_text = outside.to_str().unwrap();
    let cases: [&[Entry]; 8] = [
        &[entry(Kind::File, "../outside/file", "")],
        &[entry(Kind::File, "a/../../outside/file", "")],
        &[entry(Kind::Symlink, "l", outside_text), entry(Kind::File, "l/file", "")],
        &[entry(Kind::Symlink, "l", "../outside"), entry(Kind::File, "l/new", "")],
        &[entry(Kind::Symlink, "l", outside_text), entry(Kind::Directory, "l/", "")],
        &[entry(Kind::HardLink, "h", "../outside/file")],
        &[entry(Kind::Symlink, "l", outside_text), entry(Kind::HardLink, "h", "l/file")],
        &[entry(Kind::Directory, "d/", ""), entry(Kind::Symlink, "d", outside_text)],
    ];
    for (number, case) in cases.iter().enumerate() {
        let target = folder.path().join(format!("target-{number}"));
        let outcome = extracted(&hostile(case), &target, HOST);
        assert!(
            matches!(outcome, Err(TreeError::Escapes { .. } | TreeError::Occupied { .. })),
            "case {number}: {outcome:?}"
        );
    }
    assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "good");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);

    // A link of the same name is replaced, never written through.
    let through = [entry(Kind::Symlink, "l", &format!("{outside_text}/file")), entry(Kind::File, "l", "")];
    let target = folder.path().join("replaced");
    extracted(&hostile(&through), &target, HOST).unwrap();
    assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "good");
    let replaced = fs::symlink_metadata(target.join("l")).unwrap();
    assert!(replaced.is_file());
    assert_eq!(replaced.mode() & 0o7777, 0o755, "no set-id bit for an owner that did not grant it");
}

#[test]
fn a_link_that_the_user_names_is_the_file_that_it_leads_to() {
    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (folder.path().join("file"), folder.path().join("link"));
    fs::write(&file, "old").unwrap();
    fs::write(folder.path().join("source"), "new").unwrap();
    fs::create_dir(folder.path().join("far")).unwrap();
    symlink(folder.path().join("far/chain"), &link).unwrap();
    symlink("../file", folder.path().join("far/chain")).unwrap();
    let stream = packed(&folder.path().join("source")).unwrap();
    extracted(&stream, &link, HOST).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "new");
    assert_eq!(fs::read_link(&link).unwrap(), folder.path().join("far/chain"));
    assert_eq!(fs::read_link(folder.path().join("far/chain")).unwrap(), Path::new("../file"));
    // As cp(1) has it, a link takes the place of a link.
    symlink("elsewhere", folder.path().join("other")).unwrap();
    extracted(&packed(&folder.path().join("other")).unwrap(), &link, HOST).unwrap();
    assert_eq!(fs::read_link(&link).unwrap(), Path::new("elsewhere"));
    extracted(&stream, &link, HOST).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_file(), "one that leads to nothing is replaced");
}

#[test]
fn what_is_neither_file_nor_directory_stays() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("source"), "new").unwrap();
    let file = packed(&folder.path().join("source")).unwrap();
    let target = folder.path().join("target");
    fs::create_dir(&target).unwrap();
    let pipe = target.join("src");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(target.join("socket")).unwrap();
    let before = fs::metadata(&pipe).unwrap().ino();
    let named = |name: &str| hostile(&[entry(Kind::File, name, "")]);
    let linked = hostile(&[entry(Kind::File, "f", ""), entry(Kind::HardLink, "src", "f")]);
    let into = Placement::Copy { source_name: b"src", contents_only: true };
    let refused = |outcome: Result<(), TreeError>| {
        assert!(matches!(outcome, Err(TreeError::Unsuitable { .. })), "{outcome:?}");
        assert!(outcome.unwrap_err().is_refusal());
    };
    refused(extracted(&file, &pipe, HOST).map(drop));
    refused(extracted(&file, &target, HOST).map(drop));
    refused(extracted(&file, &target.join("socket"), HOST).map(drop));
    for stream in [named("src"), named("socket"), linked, hostile(&[entry(Kind::Symlink, "src", "x")])] {
        let mut reader = Reader::new(stream.as_slice());
        refused(extract(&mut reader, &bytes(&target), into, HOST, &mut |_| {}));
    }
    assert_eq!(fs::metadata(&pipe).unwrap().ino(), before);
}

#[test]
fn f58_links_in_a_destination_are_not_written_through() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("precious"), "good").unwrap();
    fs::write(folder.path().join("source"), "evil").unwrap();
    let stream = packed(&folder.path().join("source")).unwrap();
    let target = folder.path().join("target");
    fs::create_dir(&target).unwrap();
    symlink("../precious", target.join("src")).unwrap();
    extracted(&stream, &target, HOST).unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("precious")).unwrap(), "good");
    symlink(folder.path(), target.join("tree")).unwrap();
    let tree = hostile(&[entry(Kind::File, "tree/precious", "")]);
    assert!(extracted(&tree, &target.join("other"), HOST).is_ok());
    let into = Placement::Copy { source_name: b"tree", contents_only: false };
    let outcome = extract(&mut Reader::new(tree.as_slice()), &bytes(&target), into, HOST, &mut |_| {});
    assert!(matches!(outcome, Err(TreeError::Occupied { .. })), "{outcome:?}");
}

#[test]
fn f58_devices_and_pipes_are_left_out_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let stream = hostile(&[
        entry(Kind::CharacterDevice, "null", ""),
        entry(Kind::BlockDevice, "disk", ""),
        entry(Kind::Fifo, "d/pipe", ""),
        entry(Kind::File, "file", ""),
    ]);
    let target = folder.path().join("target");
    let skipped = extracted(&stream, &target, HOST).unwrap();
    let shown: Vec<_> =
        skipped.iter().map(|one| (String::from_utf8_lossy(&one.path).into_owned(), one.reason)).collect();
    assert_eq!(
        shown,
        [
            ("null".to_owned(), "a character device"),
            ("disk".to_owned(), "a block device"),
            ("d/pipe".to_owned(), "a named pipe")
        ]
    );
    assert_eq!(fs::read_to_string(target.join("file")).unwrap(), "evil");
    assert!(!target.join("null").exists());

    let mut writer = Writer::new(Vec::new());
    writer.begin(&entry(Kind::Fifo, ".", ""), None).unwrap();
    let outcome = extracted(&writer.finish().unwrap(), &folder.path().join("pipe"), HOST);
    assert!(matches!(outcome, Err(TreeError::Special { .. })), "{outcome:?}");
}

#[test]
fn files_and_directories_do_not_replace_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("target");
    fs::create_dir_all(target.join("name")).unwrap();
    let outcome = extracted(&hostile(&[entry(Kind::File, "name", "")]), folder.path(), HOST);
    assert!(outcome.is_ok(), "{outcome:?}");
    let unpack = |stream: &[u8]| {
        extract(&mut Reader::new(stream), &bytes(&target), Placement::Unpack, HOST, &mut |_| {})
    };
    let outcome = unpack(&hostile(&[entry(Kind::File, "name", "")]));
    assert!(matches!(outcome, Err(TreeError::Occupied { what: "a directory", .. })), "{outcome:?}");
    fs::write(target.join("file"), "").unwrap();
    let outcome = unpack(&hostile(&[entry(Kind::Directory, "file/", "")]));
    assert!(matches!(outcome, Err(TreeError::Occupied { what: "no directory", .. })), "{outcome:?}");
    assert!(matches!(unpack(b"junk"), Err(TreeError::Archive(_))));
}

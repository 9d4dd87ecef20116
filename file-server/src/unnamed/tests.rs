use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use virtiofsd::fuse::CreateIn;
use virtiofsd::passthrough::Config;

use super::*;

const ROOT: Inode = 1;

/// Next to the tests; it is gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::current_exe().unwrap().with_extension(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("inner")).unwrap();
        Self(folder)
    }

    /// Of which this process has so many files open.
    fn descriptors(&self) -> usize {
        let open =
            fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        open.filter(|target| target.starts_with(&self.0) && *target != self.0).count()
    }

    fn files(&self, maximum: usize) -> Files {
        let descriptors = || File::open("/proc/self/fd").unwrap();
        let named = PassthroughFs::new(Config {
            entry_timeout: Duration::ZERO,
            attr_timeout: Duration::ZERO,
            root_dir: self.0.to_str().unwrap().to_owned(),
            proc_sfd_rawfd: Some(descriptors()),
            xattr: true,
            ..Config::default()
        });
        let files = Files::new(named.unwrap(), descriptors(), Owners::OnlyUser, Duration::ZERO, maximum);
        files.init(FsOptions::empty()).unwrap();
        files
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn creation(flags: OFlags) -> Creation {
    let fixed = CreateIn { flags: flags.bits(), mode: 0o100_666, umask: 0o027, open_flags: 0 };
    Creation::parse(&fixed, b"/\0").unwrap()
}

fn create(files: &Files, flags: OFlags) -> io::Result<(Entry, Handle)> {
    files.create_unnamed(nobody(), ROOT, &creation(flags))
}

fn name(name: &str) -> CString {
    CString::new(name).unwrap()
}

fn put(files: &Files, inode: Inode, handle: Handle, text: &'static str) {
    with_file(files, nobody(), inode, handle, |file| {
        use std::os::unix::fs::FileExt as _;
        file.write_all_at(text.as_bytes(), 0)
    })
    .unwrap();
}

fn number<T>(outcome: io::Result<T>) -> Option<i32> {
    outcome.err().and_then(|error| error.raw_os_error())
}

#[track_caller]
fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn a_name_leads_to_the_number_that_the_guest_has_until_it_forgets() {
    let folder = Folder::new("unnamed-names");
    let files = folder.files(100);
    let (entry, handle) = create(&files, OFlags::RDWR).unwrap();
    let own = entry.inode;
    assert!(is_own(own) && is_own(handle) && own != handle);
    assert_eq!((entry.attr.nlink, entry.attr.mode & libc::S_IFMT), (0, libc::S_IFREG));
    put(&files, own, handle, "content");
    let inner = files.lookup(nobody(), ROOT, c"inner").unwrap().inode;
    let linked = files.link(nobody(), own, inner, c"name").unwrap();
    assert_eq!((linked.inode, linked.attr.nlink, linked.attr.size), (own, 1, 7));
    assert_eq!(read(&folder.0.join("inner/name")), "content");
    // By a name that virtiofsd gave it, too, and as often as one likes.
    fs::hard_link(folder.0.join("inner/name"), folder.0.join("other")).unwrap();
    for _ in 0..3 {
        assert_eq!(files.lookup(nobody(), inner, c"name").unwrap().inode, own);
        assert_eq!(files.lookup(nobody(), ROOT, c"other").unwrap().inode, own);
    }
    let flags = OFlags::RDWR.bits();
    let found =
        files.create(nobody(), inner, c"name", 0o600, false, flags, 0, Extensions::default()).unwrap();
    assert_eq!((found.0.inode, found.1.map(is_own)), (own, Some(true)));
    files.release(nobody(), own, 0, found.1.unwrap(), false, false, None).unwrap();
    fs::write(folder.0.join("other"), "by the host").unwrap();
    assert_eq!(files.getattr(nobody(), own, None).unwrap().0.size, 11);
    files.release(nobody(), own, 0, handle, false, false, None).unwrap();
    // Once made, once linked, six times looked up, once opened.
    files.forget(nobody(), own, 8);
    assert_eq!(files.lookup(nobody(), inner, c"name").unwrap().inode, own);
    files.batch_forget(nobody(), vec![(own, 2), (inner, 0)]);
    assert_eq!(folder.descriptors(), 1, "all but the directory");
    assert_eq!(number(files.getattr(nobody(), own, None)), Some(libc::EBADF));
    let named = files.lookup(nobody(), inner, c"name").unwrap().inode;
    assert!(!is_own(named));
    assert_eq!(files.lookup(nobody(), ROOT, c"other").unwrap().inode, named);
}

#[test]
fn what_has_no_name_gets_none_that_is_not_its_own() {
    let folder = Folder::new("unnamed-refused");
    let files = folder.files(100);
    fs::write(folder.0.join("taken"), "as before").unwrap();
    let (entry, _) = create(&files, OFlags::RDWR).unwrap();
    let link = |inode, parent, to: &str| number(files.link(nobody(), inode, parent, &name(to)));
    assert_eq!(link(entry.inode, ROOT, "taken"), Some(libc::EEXIST));
    assert_eq!(read(&folder.0.join("taken")), "as before");
    for nonsense in ["inner/name", "../name", "/name"] {
        assert_eq!(link(entry.inode, ROOT, nonsense), Some(libc::EINVAL), "{nonsense}");
    }
    for nonsense in [".", ".."] {
        assert_eq!(link(entry.inode, ROOT, nonsense), Some(libc::EEXIST));
    }
    assert_eq!(link(entry.inode, ROOT, ""), Some(libc::ENOENT));
    for parent in [0, 77, entry.inode, u64::MAX] {
        assert_eq!(link(entry.inode, parent, "name"), Some(libc::EBADF), "{parent}");
        assert_eq!(
            number(files.create_unnamed(nobody(), parent, &creation(OFlags::RDWR))),
            Some(libc::EBADF)
        );
    }
    let (exclusive, _) = create(&files, OFlags::RDWR | OFlags::EXCL).unwrap();
    assert_eq!(link(exclusive.inode, ROOT, "name"), Some(libc::ENOENT));
    assert_eq!(number(create(&files, OFlags::RDONLY)), Some(libc::EINVAL));
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 2);
}

#[test]
fn f83_numbers_that_nobody_was_told_are_nothing() {
    let folder = Folder::new("unnamed-numbers");
    fs::write(folder.0.join("named"), "named").unwrap();
    let files = folder.files(100);
    let (first, first_handle) = create(&files, OFlags::RDWR).unwrap();
    let (second, second_handle) = create(&files, OFlags::RDWR).unwrap();
    let named = files.lookup(nobody(), ROOT, c"named").unwrap().inode;
    let named_handle = files.open(nobody(), named, false, OFlags::RDWR.bits()).unwrap().0.unwrap();
    // Numbers of files for handles, of one file for another, and any.
    for (inode, handle) in [
        (first.inode, second_handle),
        (first.inode, first.inode),
        (first.inode, named_handle),
        (first_handle, first_handle),
        (named, first_handle),
        (first.inode + 100, first_handle),
        (u64::MAX, u64::MAX),
        (1 << 63, 1 << 63),
        (0, 0),
    ] {
        let nobody = nobody();
        let refused = [
            number(with_file(&files, nobody, inode, handle, |_| Ok(()))),
            number(files.flush(nobody, inode, handle, 1)),
            number(files.fsync(nobody, inode, false, handle)),
            number(files.fallocate(nobody, inode, handle, 0, 0, 1)),
            number(files.lseek(nobody, inode, handle, 0, libc::SEEK_DATA as u32)),
            number(files.setattr(nobody, inode, SetattrIn::default(), Some(handle), SetattrValid::SIZE)),
            number(files.copyfilerange(nobody, inode, handle, 0, second.inode, second_handle, 0, 1, 0)),
            number(files.copyfilerange(nobody, named, named_handle, 0, inode, handle, 0, 1, 0)),
            number(files.release(nobody, inode, 0, handle, false, false, None)),
        ];
        assert_eq!(refused, [Some(libc::EBADF); 9], "{inode:x} {handle:x}");
    }
    for inode in [first_handle, first.inode + 100, u64::MAX] {
        let nobody = nobody();
        let refused = [
            number(files.getattr(nobody, inode, None)),
            number(files.open(nobody, inode, false, 0)),
            number(files.link(nobody, inode, ROOT, c"name")),
            number(files.lookup(nobody, inode, c"name")),
            number(files.opendir(nobody, inode, 0)),
            number(files.readlink(nobody, inode)),
            number(files.statfs(nobody, inode)),
            number(files.syncfs(nobody, inode)),
            number(files.access(nobody, inode, 0)),
            number(files.getxattr(nobody, inode, c"user.x", 10)),
            number(files.listxattr(nobody, inode, u32::MAX)),
            number(files.removexattr(nobody, inode, c"user.x")),
            number(files.setxattr(nobody, inode, c"user.x", b"", 0, SetxattrFlags::empty())),
        ];
        assert_eq!(refused, [Some(libc::EBADF); 13], "{inode:x}");
    }
    files.forget(nobody(), u64::MAX, 1);
    files.batch_forget(nobody(), vec![(first_handle, u64::MAX), (second.inode, u64::MAX), (second.inode, 1)]);
    // Open is what is open, though its number is forgotten.
    put(&files, second.inode, second_handle, "second");
    put(&files, first.inode, first_handle, "first");
    files.release(nobody(), second.inode, 0, second_handle, false, false, None).unwrap();
    assert_eq!(number(files.flush(nobody(), second.inode, second_handle, 1)), Some(libc::EBADF));
    files.destroy();
    assert_eq!(number(files.getattr(nobody(), first.inode, None)), Some(libc::EBADF));
    assert_eq!(folder.descriptors(), 0);
}

#[test]
fn f83_a_guest_has_so_many_and_no_more() {
    let folder = Folder::new("unnamed-many");
    let files = folder.files(20);
    for round in 0..3 {
        let all: Vec<(Entry, Handle)> = (0..10).map(|_| create(&files, OFlags::RDWR).unwrap()).collect();
        assert_eq!(number(create(&files, OFlags::RDWR)), Some(libc::ENFILE));
        let (first, handle) = &all[0];
        let open = || files.open(nobody(), first.inode, false, OFlags::RDONLY.bits());
        assert_eq!(number(open()), Some(libc::ENFILE));
        files.release(nobody(), first.inode, 0, *handle, false, false, None).unwrap();
        assert_eq!(number(create(&files, OFlags::RDWR)), Some(libc::ENFILE), "it takes two");
        let again = open().unwrap().0.unwrap();
        let name = name(&round.to_string());
        files.link(nobody(), first.inode, ROOT, &name).unwrap();
        assert_eq!(files.lookup(nobody(), ROOT, &name).unwrap().inode, first.inode);
        files.release(nobody(), first.inode, 0, again, false, false, None).unwrap();
        files.forget(nobody(), first.inode, 3);
        for (entry, handle) in &all[1..] {
            files.release(nobody(), entry.inode, 0, *handle, false, false, None).unwrap();
            files.forget(nobody(), entry.inode, 1);
        }
        assert_eq!(folder.descriptors(), 0);
    }
}

#[test]
fn a_number_of_the_host_alone_is_not_a_file() {
    let folder = Folder::new("unnamed-places");
    let table = Table::new(100);
    let made = || File::from(Unnamed::make(&File::open(&folder.0).unwrap(), 2, 0o600).unwrap());
    let (file, open) = (made(), made());
    let place = Place::of(&file).unwrap();
    let inode = std::os::unix::fs::MetadataExt::ino(&file.metadata().unwrap());
    let (own, _) = table.insert(file, open).unwrap();
    assert_eq!(table.find(inode + 1, 5), Found::Another);
    assert_eq!(table.find(inode, 5), Found::Unclear);
    // It is on another file system.
    assert_eq!(table.name(Place::of(&File::open("/proc/self/status").unwrap()).unwrap(), 5), None);
    assert_eq!(table.find(inode, 6), Found::Unclear);
    assert_eq!(table.name(place, 6), Some((own, true)));
    assert_eq!((table.find(inode, 6), table.find(inode, 5)), (Found::Own(own), Found::Another));
    assert_eq!((table.name(place, 6), table.name(place, 5)), (Some((own, false)), None));
    assert_eq!((table.forget(own, 3), table.forget(own, 1), table.forget(own, 1)), (None, Some(6), None));
    assert_eq!(table.find(inode, 6), Found::Another);
}

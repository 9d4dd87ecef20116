//! What the tests share: tars made byte by byte, and images mounted by the host's kernel.

#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod images;
pub(crate) mod interruption;

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A tar stream in the making.
#[derive(Default)]
pub(crate) struct Tar(pub(crate) Vec<u8>);

impl Tar {
    pub(crate) fn header(kind: u8, path: &[u8], link: &[u8], mode: u32, size: u64) -> [u8; 512] {
        let mut block = [0; 512];
        block[..path.len()].copy_from_slice(path);
        block[100..108].copy_from_slice(format!("{mode:07o}\0").as_bytes());
        block[108..124].copy_from_slice(b"0000000\x000000000\0");
        block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
        block[136..148].copy_from_slice(b"14000000000\0");
        block[156] = kind;
        block[157..157 + link.len()].copy_from_slice(link);
        block[257..265].copy_from_slice(b"ustar\x0000");
        block[329..345].copy_from_slice(b"0000000\x000000000\0");
        Self::seal(block)
    }

    pub(crate) fn seal(mut block: [u8; 512]) -> [u8; 512] {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }

    pub(crate) fn raw(mut self, block: &[u8]) -> Self {
        self.0.extend_from_slice(block);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, path: &str, content: &[u8]) -> Self {
        self.raw(&Self::header(b'0', path.as_bytes(), b"", 0o644, content.len() as u64)).raw(content)
    }

    pub(crate) fn directory(self, path: &str, mode: u32) -> Self {
        self.raw(&Self::header(b'5', path.as_bytes(), b"", mode, 0))
    }

    pub(crate) fn symlink(self, path: &str, target: &str) -> Self {
        self.raw(&Self::header(b'2', path.as_bytes(), target.as_bytes(), 0o777, 0))
    }

    pub(crate) fn hard_link(self, path: &str, target: &str) -> Self {
        self.raw(&Self::header(b'1', path.as_bytes(), target.as_bytes(), 0o644, 0))
    }

    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut content = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length != rest + length.to_string().len() {
                length += 1;
            }
            content.extend(format!("{length} {key}=").as_bytes());
            content.extend_from_slice(value);
            content.push(b'\n');
        }
        self.raw(&Self::header(b'x', b"PaxHeader", b"", 0o644, content.len() as u64)).raw(&content)
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }
}

/// Fails a test that mounts or makes devices rather than letting it pass untried.
#[track_caller]
pub(crate) fn need_root() {
    assert!(rustix::process::geteuid().is_root(), "this test mounts: run it as root (sudo make test)");
}

/// Calls `check` with an image mounted by the kernel in a mount namespace of its own. Needs root.
pub(crate) fn mounted(image: &Path, check: impl FnOnce(&Path) + Send) {
    stacked(&[image], check);
}

/// Calls `check` with images, the lowest first, stacked by overlayfs in a mount namespace of its own. Needs root.
pub(crate) fn stacked(images: &[&Path], check: impl FnOnce(&Path) + Send) {
    use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
    let scratch = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: the thread ends after the check; no other code of it relies on the old namespace.
            unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }.unwrap();
            mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE).unwrap();
            let mut targets = Vec::new();
            for (index, image) in images.iter().enumerate() {
                let target = scratch.path().join(index.to_string());
                fs::create_dir(&target).unwrap();
                run("mount", &["-t", "erofs", "-o", "loop,ro", path_text(image), path_text(&target)]);
                targets.insert(0, target);
            }
            if targets.len() > 1 {
                let merged = scratch.path().join("merged");
                fs::create_dir(&merged).unwrap();
                let lower = targets.iter().map(|target| path_text(target)).collect::<Vec<_>>().join(":");
                let options = std::ffi::CString::new(format!("lowerdir={lower}")).unwrap();
                mount("overlay", &merged, "overlay", MountFlags::RDONLY, Some(&*options)).unwrap();
                targets.insert(0, merged);
            }
            check(&targets[0]);
            for target in &targets {
                unmount(target, UnmountFlags::DETACH).unwrap();
            }
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Every file of a tree with what must be equal after extraction.
pub(crate) fn survey(root: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
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
            format!("{} bytes {}", bytes.len(), bulkhead_oci::Digest::of(&bytes))
        } else {
            format!("device {:x}", stat.rdev())
        };
        // Link counts of directories are a matter of the file system.
        let links = if kind.is_dir() { 0 } else { stat.nlink() };
        let text = format!(
            "{:o} {}:{} {}.{:09} links {links} {:?} {detail}",
            stat.mode(),
            stat.uid(),
            stat.gid(),
            stat.mtime(),
            stat.mtime_nsec(),
            attributes(&path),
        );
        found.push((path.strip_prefix(root).unwrap().to_owned(), text));
    }
    found.sort();
    found
}

pub(crate) fn attributes(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut names = vec![0; 65_536];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or(0);
    let mut found: Vec<_> = names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let name = String::from_utf8_lossy(name).into_owned();
            let mut value = vec![0; 65_536];
            let length = rustix::fs::lgetxattr(path, &*name, &mut value[..]).unwrap();
            value.truncate(length);
            (name, value)
        })
        .collect();
    found.sort();
    found
}

/// Runs a program and returns what it printed; a failure is the test's.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; is it installed?"));
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {text}");
    text
}

pub(crate) fn path_text(path: &Path) -> &str {
    std::str::from_utf8(path.as_os_str().as_bytes()).unwrap()
}

pub(crate) fn create(path: &Path) -> File {
    File::options().read(true).write(true).create_new(true).open(path).unwrap()
}

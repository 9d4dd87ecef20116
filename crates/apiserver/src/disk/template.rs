//! The formatted, empty disk.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::DiskError;

/// Part of the file name: a template of other options is another file.
const GENERATION: u32 = 1;
/// What a template may hold at most; the options below give about 120 KiB.
const MAXIMUM_DATA_BYTES: u64 = 16 << 20;

/// The features are listed one by one so that the host's mke2fs.conf decides nothing.
///
/// * `sparse_super2` with no backups and one flex group for the whole disk: 30 blocks instead of 180
///   that every clone would write; a container's disk is never repaired from a backup superblock.
/// * no `resize_inode`, no `orphan_file`: further blocks that nobody needs.
/// * mke2fs punches holes in a regular file and, as these read as zeros, marks all inode tables as
///   zeroed, so that the guest's kernel does not zero a gigabyte of them in the background.
const FEATURES: &str = "none,has_journal,ext_attr,dir_index,filetype,extent,64bit,flex_bg,sparse_super2,\
                        large_file,huge_file,dir_nlink,extra_isize,metadata_csum";

/// A template with its data in memory.
#[derive(Debug)]
pub(super) struct Template {
    /// Of the disk.
    pub(super) length_bytes: u64,
    /// Offset and content of everything that is no hole.
    pub(super) extents: Vec<(u64, Vec<u8>)>,
}

impl Template {
    pub(super) fn open_or_create(folder: &Path, length_bytes: u64) -> Result<Self, DiskError> {
        let path = folder.join(format!("empty-{GENERATION}-{length_bytes}.ext4"));
        let failed = |operation| {
            let path = path.clone();
            move |source| DiskError::Template { operation, path, source }
        };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed("create"))?;
                let temporary = folder.join(format!(".empty-{}.tmp", std::process::id()));
                let formatted = format(&temporary, length_bytes)
                    .and_then(|()| File::open(&temporary).map_err(failed("open")))
                    .and_then(|file| file.sync_all().map(|()| file).map_err(failed("write")))
                    .and_then(|file| {
                        std::fs::rename(&temporary, &path).map(|()| file).map_err(failed("publish"))
                    });
                if formatted.is_err() {
                    drop(std::fs::remove_file(&temporary));
                }
                formatted?
            }
            Err(error) => return Err(failed("open")(error)),
        };
        let extents = read_extents(&file, length_bytes).map_err(failed("read"))?;
        Ok(Self { length_bytes, extents })
    }
}

fn format(path: &Path, length_bytes: u64) -> Result<(), DiskError> {
    let created = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|file| file.set_len(length_bytes));
    created.map_err(|source| DiskError::Template { operation: "create", path: path.to_owned(), source })?;
    let output = Command::new(find_program("mke2fs"))
        .args(["-q", "-F", "-b", "4096", "-I", "256", "-i", "16384", "-m", "0", "-G", "65536"])
        .args(["-J", "size=16", "-O", FEATURES])
        .args(["-E", "root_owner=0:0,lazy_journal_init=1,num_backup_sb=0"])
        .arg(path)
        .env_clear()
        .env("MKE2FS_CONFIG", "/dev/null")
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(DiskError::RunFormatter)?;
    if output.status.success() {
        Ok(())
    } else {
        let output = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
        Err(DiskError::Format { path: path.to_owned(), output })
    }
}

/// A program of e2fsprogs. Users' PATH often lacks the directories for administrators, where Debian puts it.
pub(crate) fn find_program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_absolute() && candidate.exists())
        .unwrap_or_else(|| Path::new("/usr/sbin").join(name))
}

fn read_extents(file: &File, length_bytes: u64) -> io::Result<Vec<(u64, Vec<u8>)>> {
    if file.metadata()?.len() != length_bytes {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its length is not the one in its name"));
    }
    let mut extents = Vec::new();
    let (mut position, mut total_bytes) = (0, 0);
    loop {
        let start = match rustix::fs::seek(file, SeekFrom::Data(position)) {
            Ok(start) => start,
            // No data after `position`, lseek(2).
            Err(Errno::NXIO) => return Ok(extents),
            Err(error) => return Err(error.into()),
        };
        let end = rustix::fs::seek(file, SeekFrom::Hole(start))?;
        total_bytes += end - start;
        if total_bytes > MAXIMUM_DATA_BYTES {
            return Err(io::Error::other("it is not sparse"));
        }
        let mut content = vec![0; usize::try_from(end - start).map_err(io::Error::other)?];
        file.read_exact_at(&mut content, start)?;
        extents.push((start, content));
        position = end;
    }
}

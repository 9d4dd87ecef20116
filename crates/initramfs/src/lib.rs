//! The initramfs: an uncompressed newc archive with vminitd as /init.
//!
//! Uncompressed because unpacking costs more boot time than reading (Linux,
//! Documentation/driver-api/early-userspace/buffer-format.rst describes the format). The build makes
//! one around the vminitd of this version; `--init-image` makes one around that of an image.

mod program;

use thiserror::Error;

pub use program::{ProgramError, check_program};

const REGULAR_EXECUTABLE: u32 = 0o100_755;
const DIRECTORY: u32 = 0o040_755;
const CHARACTER_DEVICE: u32 = 0o020_600;
/// Device 5:1 of Documentation/admin-guide/devices.txt.
const CONSOLE: (u32, u32) = (5, 1);

/// Mount points of PID 1, which so need not be made in every boot.
const DIRECTORIES: [&str; 4] = ["dev", "devices", "cgroup", "files"];

/// The program does not fit the format.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("a program of {length_bytes} bytes does not fit a newc archive")]
pub struct OversizeError {
    length_bytes: usize,
}

/// The archive around a program, the same bytes for the same program.
///
/// # Errors
/// The program has 4 GiB or more.
pub fn archive(program: &[u8]) -> Result<Vec<u8>, OversizeError> {
    let mut archive = Vec::with_capacity(program.len() + 2048);
    for (inode, name) in (3..).zip(DIRECTORIES) {
        append(&mut archive, inode, name, DIRECTORY, (0, 0), &[])?;
    }
    append(&mut archive, 1, "dev/console", CHARACTER_DEVICE, CONSOLE, &[])?;
    append(&mut archive, 2, "init", REGULAR_EXECUTABLE, (0, 0), program)?;
    append(&mut archive, 0, "TRAILER!!!", 0, (0, 0), &[])?;
    Ok(archive)
}

fn append(
    archive: &mut Vec<u8>,
    inode: u32,
    name: &str,
    mode: u32,
    device: (u32, u32),
    contents: &[u8],
) -> Result<(), OversizeError> {
    let length = |bytes: usize| u32::try_from(bytes).map_err(|_| OversizeError { length_bytes: bytes });
    let (length_bytes, name_length_bytes) = (length(contents.len())?, length(name.len() + 1)?);
    // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
    let fields = [inode, mode, 0, 0, 1, 0, length_bytes, 0, 0, device.0, device.1, name_length_bytes, 0];
    archive.extend_from_slice(b"070701");
    for field in fields {
        archive.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    archive.extend_from_slice(name.as_bytes());
    archive.push(0);
    pad(archive);
    archive.extend_from_slice(contents);
    pad(archive);
    Ok(())
}

/// Names and contents end at multiples of four bytes.
fn pad(archive: &mut Vec<u8>) {
    archive.resize(archive.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn cpio_lists_the_archive() {
        let mut cpio = Command::new("cpio")
            .args(["--list", "--quiet"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("cpio is missing: apt-get install cpio");
        cpio.stdin.take().unwrap().write_all(&archive(b"12345").unwrap()).unwrap();
        let output = cpio.wait_with_output().unwrap();
        assert!(output.status.success());
        assert_eq!(output.stdout, b"dev\ndevices\ncgroup\nfiles\ndev/console\ninit\n");
    }
}

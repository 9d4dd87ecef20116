//! Programs of other architectures.
//!
//! An emulator is a static program on the image disk, after the layers. The kernel opens it once, when it is told
//! which files are for it (binfmt_misc, flag F; Documentation/admin-guide/binfmt-misc.rst), so that it need not be in
//! the container, and nothing of the container can take its place.

use std::os::fd::OwnedFd;

use bulkhead_guest_protocol::messages::{Emulator, RootFilesystem};
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MoveMountFlags, UnmountFlags, move_mount, unmount};
use thiserror::Error;

use crate::image_disk::{self, PartitionError};
use crate::mounts::{FileSystem, MountError};

/// Where the emulator is while the kernel opens it, out of the container's reach.
const DIRECTORY: &str = "/emulator";
/// As the host calls it on its disk; processes show it in front of their own arguments.
const PROGRAM: &str = "/emulator/qemu";

/// Programs of the image's architecture cannot run.
#[derive(Debug, Error)]
pub(crate) enum EmulationError {
    #[error("no program for architecture {architecture:?} is known by its header")]
    Architecture { architecture: String },
    #[error("the emulator has no place on the image disk")]
    Place,
    #[error("cannot find the emulator")]
    Partition(#[from] PartitionError),
    #[error("cannot mount the emulator")]
    Mount(#[source] MountError),
    #[error("cannot reach the emulator in {DIRECTORY}")]
    Attach(#[source] Errno),
    #[error("kernel has no binfmt_misc")]
    Formats(#[source] MountError),
    #[error("kernel does not take the emulator of {architecture}")]
    Register {
        architecture: String,
        #[source]
        source: Errno,
    },
}

/// What an ELF file of an architecture begins with (elf(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    /// Else 32.
    is_64_bit: bool,
    is_big_endian: bool,
    /// `EM_*` of elf.h.
    machine: u16,
}

impl Header {
    /// By Go's names of architectures, as the OCI image specification has them.
    fn of(architecture: &str) -> Option<Self> {
        let (is_64_bit, is_big_endian, machine) = match architecture {
            "386" => (false, false, libc::EM_386),
            "arm" => (false, false, libc::EM_ARM),
            "arm64" => (true, false, libc::EM_AARCH64),
            "ppc64le" => (true, false, libc::EM_PPC64),
            "riscv64" => (true, false, libc::EM_RISCV),
            "s390x" => (true, true, libc::EM_S390),
            _ => return None,
        };
        Some(Self { is_64_bit, is_big_endian, machine })
    }

    /// The bytes, and which bits of them count: not ABI and padding, which differ among tool chains, and of the
    /// type not what tells `ET_EXEC` (2) from `ET_DYN` (3).
    fn magic_and_mask(self) -> ([u8; 20], [u8; 20]) {
        let word = |value: u16| if self.is_big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
        let mut magic = [0; 20];
        let mut mask = [0; 20];
        magic[..7].copy_from_slice(&[
            0x7f,
            b'E',
            b'L',
            b'F',
            if self.is_64_bit { libc::ELFCLASS64 } else { libc::ELFCLASS32 },
            if self.is_big_endian { libc::ELFDATA2MSB } else { libc::ELFDATA2LSB },
            1, // EV_CURRENT
        ]);
        mask[..7].fill(0xff);
        magic[16..18].copy_from_slice(&word(libc::ET_EXEC));
        mask[16..18].copy_from_slice(&word(!1));
        magic[18..20].copy_from_slice(&word(self.machine));
        mask[18..20].fill(0xff);
        (magic, mask)
    }

    /// A line for `register`. Its flags: P keeps the program's name, O hands over a program that the emulator may
    /// not open, C lets set-user-ID count, F opens the emulator now.
    fn rule(self, architecture: &str) -> String {
        let (magic, mask) = self.magic_and_mask();
        let escaped = |bytes: [u8; 20]| bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
        format!(":{architecture}:M::{}:{}:{PROGRAM}:POCF", escaped(magic), escaped(mask))
    }
}

/// What the kernel was told, for as long as this is kept: it forgets the emulators with the last mount of binfmt_misc.
#[derive(Debug)]
pub(crate) struct Emulation {
    _formats: OwnedFd,
}

/// Tells the kernel about the emulators that the container is to have.
pub(crate) fn register(root: &RootFilesystem) -> Result<Option<Emulation>, EmulationError> {
    if root.emulators.is_empty() {
        return Ok(None);
    }
    let formats = FileSystem::open("binfmt_misc")
        .and_then(|formats| formats.mount(MountAttrFlags::MOUNT_ATTR_NOEXEC))
        .map_err(EmulationError::Formats)?;
    mkdirat(CWD, DIRECTORY, Mode::from_raw_mode(0o700)).map_err(EmulationError::Attach)?;
    for (emulator, number) in root.emulators.iter().zip(root.layers.len() + 1..) {
        register_one(&root.image_device, number, emulator, &formats)?;
    }
    Ok(Some(Emulation { _formats: formats }))
}

fn register_one(
    image_device: &str,
    number: usize,
    emulator: &Emulator,
    formats: &OwnedFd,
) -> Result<(), EmulationError> {
    let architecture = emulator.architecture.as_str();
    let header = Header::of(architecture)
        .ok_or_else(|| EmulationError::Architecture { architecture: architecture.to_owned() })?;
    let extent = emulator.extent.as_ref().ok_or(EmulationError::Place)?;
    let device = image_disk::partition(image_device, extent, number)?;
    let mount = image_disk::mount(&device).map_err(EmulationError::Mount)?;
    move_mount(&mount, "", CWD, DIRECTORY, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(EmulationError::Attach)?;
    openat(formats, "register", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        .and_then(|register| rustix::io::write(register, header.rule(architecture).as_bytes()))
        .map_err(|source| EmulationError::Register { architecture: architecture.to_owned(), source })?;
    unmount(DIRECTORY, UnmountFlags::DETACH).map_err(EmulationError::Attach)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_what_binfmt_misc_reads() {
        let ones = "\\xff".repeat(7) + &"\\x00".repeat(9);
        let arm64 = format!(
            ":arm64:M::\\x7f\\x45\\x4c\\x46\\x02\\x01\\x01{}\\x02\\x00\\xb7\\x00:{ones}\\xfe\\xff\\xff\\xff:/emulator/qemu:POCF",
            "\\x00".repeat(9)
        );
        assert_eq!(Header::of("arm64").unwrap().rule("arm64"), arm64);
        let s390x = Header::of("s390x").unwrap().rule("s390x");
        assert!(s390x.contains("\\x7f\\x45\\x4c\\x46\\x02\\x02\\x01"), "{s390x}");
        assert!(s390x.contains("\\x00\\x02\\x00\\x16:"), "{s390x}");
        assert!(s390x.ends_with("\\xff\\xfe\\xff\\xff:/emulator/qemu:POCF"), "{s390x}");
    }

    #[test]
    fn programs_of_this_machine_need_no_emulator() {
        assert_eq!(Header::of("amd64"), None);
        let (magic, mask) = Header::of("386").unwrap().magic_and_mask();
        let own = std::fs::read("/proc/self/exe").unwrap();
        let fits = own.iter().zip(mask).zip(magic).all(|((byte, mask), magic)| byte & mask == magic);
        assert!(!fits, "a program of 64 bits is none of 32");
    }
}

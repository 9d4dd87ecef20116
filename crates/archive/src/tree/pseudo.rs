//! File systems whose files are answers of the kernel.

use std::os::fd::BorrowedFd;

use rustix::fs::fstatfs;

/// linux/magic.h: proc, sysfs, cgroups of both kinds, debugfs, tracefs, securityfs, configfs.
const MAGIC_NUMBERS: [u32; 8] =
    [0x9fa0, 0x6265_6572, 0x0027_e0eb, 0x6367_7270, 0x6462_6720, 0x7472_6163, 0x7363_6673, 0x6265_6570];

/// Whether the sizes of its files mean nothing, and some of them cannot be read.
pub(super) fn is_pseudo(file: BorrowedFd<'_>) -> bool {
    fstatfs(file)
        .is_ok_and(|status| u32::try_from(status.f_type).is_ok_and(|number| MAGIC_NUMBERS.contains(&number)))
}

//! Everything the child needs, made before it exists: between clone and exec in a process with
//! threads nothing may be allocated.

use std::ffi::{CStr, CString, c_char};
use std::fmt::Write;
use std::os::fd::RawFd;

use super::JailConfiguration;

/// First user id of the jails that root starts.
const FIRST_JAIL_ID: u32 = 0x7000_0000;
/// Guest processes are host processes under User-Mode Linux.
const MAXIMUM_PROCESSES: u64 = 8192;
const MAXIMUM_DESCRIPTORS: u64 = 16384;

/// A limit: `RLIMIT_*` and its value, soft and hard.
pub(super) type Limit = (libc::__rlimit_resource_t, u64);

/// The child's program.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) as_root: bool,
    pub(super) id: u32,
    /// For uid_map and gid_map.
    pub(super) user_map: CString,
    pub(super) group_map: CString,
    pub(super) staging_directory: CString,
    pub(super) scratch_options: CString,
    /// The same in pages of 2 MiB. A guest's memory is touched for the first time all over during its
    /// boot: for 1 GiB this halves the start and costs 6 MiB.
    pub(super) huge_scratch_options: CString,
    pub(super) file_source: CString,
    pub(super) file_target: CString,
    pub(super) arguments: StringVector,
    pub(super) environment: StringVector,
    /// Descriptor n of the jail is a copy of entry n.
    pub(super) descriptors: Vec<RawFd>,
    pub(super) executable: RawFd,
    pub(super) report: RawFd,
    pub(super) limits: [Limit; 9],
}

impl Plan {
    /// `descriptors`, `executable` and `report` must all be greater than the number of descriptors.
    pub(super) fn new(
        configuration: &mut JailConfiguration,
        descriptors: Vec<RawFd>,
        executable: RawFd,
        report: RawFd,
    ) -> Self {
        let as_root = rustix::process::geteuid().is_root();
        let own_id = rustix::process::getpid().as_raw_nonzero().get().unsigned_abs();
        let (id, group) = if as_root {
            (FIRST_JAIL_ID + own_id, FIRST_JAIL_ID + own_id)
        } else {
            (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
        };
        let arguments = StringVector::new(std::mem::take(&mut configuration.arguments));
        let environment = StringVector::new(std::mem::take(&mut configuration.environment));
        let size = configuration.scratch_bytes;
        let scratch_options = format!("size={size},nr_inodes=16,mode=0700,uid={id},gid={group}");
        Self {
            as_root,
            id,
            user_map: text(format_args!("{id} {id} 1\n")),
            group_map: text(format_args!("{group} {group} 1\n")),
            staging_directory: configuration.staging_directory.clone(),
            huge_scratch_options: text(format_args!("{scratch_options},huge=advise")),
            scratch_options: text(format_args!("{scratch_options}")),
            file_source: configuration.file.source.clone(),
            file_target: text(format_args!("root/{}", configuration.file.name.to_string_lossy())),
            arguments,
            environment,
            descriptors,
            executable,
            report,
            limits: [
                (libc::RLIMIT_CORE, 0),
                (libc::RLIMIT_FSIZE, size),
                (libc::RLIMIT_NOFILE, at_most(rustix::process::Resource::Nofile, MAXIMUM_DESCRIPTORS)),
                (libc::RLIMIT_NPROC, at_most(rustix::process::Resource::Nproc, MAXIMUM_PROCESSES)),
                (libc::RLIMIT_MEMLOCK, 0),
                (libc::RLIMIT_MSGQUEUE, 0),
                (libc::RLIMIT_NICE, 0),
                (libc::RLIMIT_RTPRIO, 0),
                (libc::RLIMIT_LOCKS, 0),
            ],
        }
    }
}

/// Strings as execve(2) wants them.
#[derive(Debug)]
pub(super) struct StringVector {
    _owned: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl StringVector {
    fn new(strings: Vec<CString>) -> Self {
        let pointers = strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect();
        Self { _owned: strings, pointers }
    }

    pub(super) fn as_ptr(&self) -> *const *const c_char {
        self.pointers.as_ptr()
    }
}

fn at_most(resource: rustix::process::Resource, wanted: u64) -> u64 {
    rustix::process::getrlimit(resource).maximum.map_or(wanted, |maximum| maximum.min(wanted))
}

/// The texts are made of numbers and of C strings, so they hold no NUL.
fn text(arguments: std::fmt::Arguments<'_>) -> CString {
    let mut bytes = String::new();
    // Writing to a string cannot fail.
    let _ = bytes.write_fmt(arguments);
    CString::new(bytes).unwrap_or_else(|_| CStr::to_owned(c""))
}

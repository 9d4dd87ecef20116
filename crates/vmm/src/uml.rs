//! User-Mode Linux: the guest's kernel is a process of the host.
//!
//! The kernel is ours (kernel/): vhost-user and packet sockets are inherited, no pid file is written.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::jail::{self, FIRST_PASSED_DESCRIPTOR, JailConfiguration, ReadOnlyFile};
use crate::{MachineConfiguration, StartError, Vmm, VmmProcess, check_memory};

/// virtio 1.2, section 5.
const BLOCK_DEVICE_ID: u32 = 2;
const VSOCK_DEVICE_ID: u32 = 19;
const FILE_SYSTEM_DEVICE_ID: u32 = 26;
const MEBIBYTE: u64 = 1024 * 1024;
/// Besides the memory the kernel makes one file of a page to see whether it may execute there.
const SCRATCH_SLACK_BYTES: u64 = MEBIBYTE;
/// Skips calibrate_delay() (70 ms). Nothing of ours waits in loops, so any plausible number does.
const LOOPS_PER_JIFFY: u32 = 36_000_000;
/// Frames per recvmmsg(2); the default of the vector driver.
const VECTOR_DEPTH: u32 = 64;
/// Where frames may be trains of segments the driver keeps 64 KiB for each: 5 MiB of every machine with the
/// default. Sixteen such frames are a megabyte for one call, and a queue of single frames is the socket's.
const VECTOR_DEPTH_OF_TRAINS: u32 = 16;

/// The User-Mode Linux backend.
#[derive(Clone, Copy, Debug, Default)]
pub struct Uml;

impl Vmm for Uml {
    fn start(&self, machine: MachineConfiguration) -> Result<VmmProcess, StartError> {
        check_memory(machine.memory_bytes).map_err(StartError::Memory)?;
        let executable = open_for_everybody(&machine.kernel, 0o005)?;
        drop(open_for_everybody(&machine.initial_ramdisk, 0o004)?);
        let memory_mib = machine.memory_bytes / MEBIBYTE;
        let mut arguments = base_arguments(memory_mib);
        let mut descriptors = Vec::new();
        let mut pass = |descriptor: OwnedFd| {
            descriptors.push(descriptor);
            FIRST_PASSED_DESCRIPTOR + descriptors.len() - 1
        };
        // Probed in this order, so the disks get their letters by it.
        for socket in machine.block_devices {
            arguments.push(format!("virtio_uml.device=fd:{}:{BLOCK_DEVICE_ID}", pass(socket)));
        }
        arguments.push(format!("virtio_uml.device=fd:{}:{VSOCK_DEVICE_ID}", pass(machine.vsock)));
        for socket in machine.file_systems {
            arguments.push(format!("virtio_uml.device=fd:{}:{FILE_SYSTEM_DEVICE_ID}", pass(socket)));
        }
        for (index, network) in machine.networks.into_iter().enumerate() {
            let (header, depth) = match network.virtio_net_header {
                true => (",vnet=1", VECTOR_DEPTH_OF_TRAINS),
                false => ("", VECTOR_DEPTH),
            };
            let (mac, mtu) = (&network.mac_address, network.mtu);
            arguments.push(format!(
                "vec{index}:transport=fd,fd={},mac={mac},mtu={mtu},depth={depth},gro=1{header}",
                pass(network.descriptor)
            ));
        }
        arguments.extend(machine.extra_arguments);
        jail::spawn(JailConfiguration {
            executable,
            executable_path: machine.kernel,
            arguments: arguments.into_iter().map(c_string).collect::<Result<_, _>>()?,
            environment: ENVIRONMENT.map(CStr::to_owned).into(),
            descriptors,
            console: machine.console,
            file: ReadOnlyFile {
                source: path_c_string(&machine.initial_ramdisk)?,
                name: c"initrd".to_owned(),
            },
            scratch_bytes: memory_mib * MEBIBYTE + SCRATCH_SLACK_BYTES,
            staging_directory: path_c_string(&machine.staging_directory)?,
        })
        .map_err(StartError::Jail)
    }
}

/// The kernel is a program of the C library, which would have the host keep up to date, at each switch between it and
/// the processes of the guest, on which processor it runs (rseq(2)). It never asks.
const ENVIRONMENT: [&CStr; 2] = [c"TMPDIR=/scratch", c"GLIBC_TUNABLES=glibc.pthread.rseq=0"];

/// Buckets of the hash table of directory entries for a guest of this size, and twice those of its
/// inodes'. The kernel's own choice, one for 8 KiB, is meant for file servers: 3 MiB for a guest of 1 GiB,
/// all of it written during boot.
fn directory_entry_buckets(memory_mib: u64) -> u64 {
    (memory_mib * 16).next_power_of_two()
}

/// The console is output only: what the guest's root reads from it is not for it to wait on.
fn base_arguments(memory_mib: u64) -> Vec<String> {
    vec![
        "linux".to_owned(),
        format!("mem={memory_mib}M"),
        "initrd=/initrd".to_owned(),
        "con0=fd:0,fd:1".to_owned(),
        "con=null".to_owned(),
        format!("lpj={LOOPS_PER_JIFFY}"),
        format!("dhash_entries={}", directory_entry_buckets(memory_mib)),
        format!("ihash_entries={}", directory_entry_buckets(memory_mib) / 2),
        // The driver is for containers that make such devices; none of its own appears in them.
        "dummy.numdummies=0".to_owned(),
    ]
}

/// Opens a file that the jailed user will need, or says what is wrong with it now rather than as a
/// mysterious failure in there.
fn open_for_everybody(path: &Path, mode: u32) -> Result<File, StartError> {
    let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
    let (metadata, file) = opened.map_err(|source| StartError::Open { path: path.to_owned(), source })?;
    let own = metadata.uid() == rustix::process::geteuid().as_raw() && !rustix::process::geteuid().is_root();
    let wanted = if own { mode << 6 } else { mode };
    if metadata.mode() & wanted == wanted {
        Ok(file)
    } else {
        Err(StartError::Permissions { path: path.to_owned() })
    }
}

fn c_string(text: String) -> Result<CString, StartError> {
    CString::new(text).map_err(|error| StartError::Argument {
        text: String::from_utf8_lossy(&error.into_vec()).into_owned(),
    })
}

fn path_c_string(path: &Path) -> Result<CString, StartError> {
    CString::new(path.as_os_str().as_encoded_bytes())
        .map_err(|_| StartError::Argument { text: path.display().to_string() })
}

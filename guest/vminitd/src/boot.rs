//! From the first instruction to the event loop.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

use crate::control::Control;
use crate::event_loop::EventLoop;
use crate::failure::SetupError;
use crate::{cgroup, devices_directory, scheduling, shutdown};

/// What is the same for every container and thus made before anyone asks for one.
#[derive(Debug)]
pub(crate) struct Machine {
    /// `/` of the container's cgroup.
    pub(crate) cgroup: OwnedFd,
}

/// Boots the guest; returns only when run by mistake outside one.
#[cfg_attr(test, expect(dead_code, reason = "only PID 1 boots"))]
pub(crate) fn run() -> libc::c_int {
    let init_entered_ns = boot_time_ns();
    if !rustix::process::getpid().is_init() {
        report(b"vminitd: only the kernel of a guest starts this program\n");
        return 1;
    }
    // The dial comes first: its round trip passes while the mounts below are made.
    let Ok(mut control) = Control::dial() else {
        report(b"vminitd: no vsock to the host\n");
        shutdown::power_off();
    };
    let machine = protect_and_prepare();
    if control.send_hello(init_entered_ns).is_err() {
        report(b"vminitd: the host does not answer\n");
        shutdown::power_off();
    }
    // While the host thinks about its answer.
    scheduling::yield_to_processes();
    match EventLoop::new(control, machine) {
        Ok(event_loop) => event_loop.run(),
        Err(_) => report(b"vminitd: no epoll\n"),
    }
    shutdown::power_off();
}

/// Nanoseconds since the guest's kernel started.
pub(crate) fn boot_time_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // Not by rustix, which insists on a vDSO; UML has none.
    // SAFETY: the structure is valid for the write.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0))
}

/// Docker's default, which every process of the container inherits.
const OPEN_FILES: u64 = 1024 * 1024;

fn protect_and_prepare() -> Result<Machine, SetupError> {
    let step = |step: &'static str| move |source| SetupError { step, source };
    // A child shares PID 1's memory until its execve and may by then run with the container's own
    // rights: without this, root in the container could write to it.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(step("protect the memory of PID 1"))?;
    let open_files = Rlimit { current: Some(OPEN_FILES), maximum: Some(OPEN_FILES) };
    setrlimit(Resource::Nofile, open_files).map_err(step("raise the limit of open files"))?;
    // The kernel's default follows from the memory of the VM; Docker has none.
    let processes = Rlimit { current: None, maximum: None };
    setrlimit(Resource::Nproc, processes).map_err(step("raise the limit of processes"))?;
    prepare_machine()
}

/// The directories come with the initramfs, see `xtask/src/initramfs.rs`.
fn prepare_machine() -> Result<Machine, SetupError> {
    match mount(c"devtmpfs", c"/dev", c"devtmpfs", MountFlags::NOSUID, None) {
        // The kernel was built to mount it itself.
        Ok(()) | Err(Errno::BUSY) => {}
        Err(source) => return Err(SetupError { step: "mount devtmpfs", source }),
    }
    devices_directory::prepare().map_err(|source| SetupError { step: "fill /dev", source })?;
    let cgroup =
        cgroup::prepare().map_err(|source| SetupError { step: "set up the control group", source })?;
    Ok(Machine { cgroup })
}

/// Last resort where no connection exists that could carry the message.
fn report(message: &[u8]) {
    // There is nobody left to tell about a failure of this write.
    let _ = rustix::io::write(rustix::stdio::stderr(), message);
}

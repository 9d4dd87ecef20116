//! Sees what ends by itself: the VMM, a device, the host's patience (SIGTERM).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use bulkhead_devices::{BlockDevice, DeviceEnd, VsockDevice};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::input::Input;
use crate::machine::FolderServer;
use crate::process_setup;

const STACK_BYTES: usize = 64 * 1024;
/// A dying VMM closes its sockets before it is seen to have ended.
const GRACE: Timespec = Timespec { tv_sec: 0, tv_nsec: 300_000_000 };

/// Any device of the machine.
#[derive(Debug)]
pub(crate) enum Device {
    Block(BlockDevice),
    Vsock(VsockDevice),
    Folder(FolderServer),
}

impl Device {
    fn end_descriptor(&self) -> BorrowedFd<'_> {
        match self {
            Self::Block(device) => device.thread().end_descriptor(),
            Self::Vsock(device) => device.thread().end_descriptor(),
            Self::Folder(server) => server.end_descriptor(),
        }
    }

    /// How it ended.
    fn wait(self) -> String {
        let told = |name: &str, end: DeviceEnd| format!("{name}: {end}");
        match self {
            Self::Block(device) => told("disk", device.wait()),
            Self::Vsock(device) => told("vsock", device.wait()),
            Self::Folder(server) => server.wait(),
        }
    }
}

/// Watches from a thread of its own until the VMM has ended. The receiver disconnects once the disks
/// of the machine are closed, and with that unlocked.
pub(crate) fn spawn(
    pidfd: BorrowedFd<'_>,
    devices: Vec<Device>,
    inputs: SyncSender<Input>,
) -> io::Result<Receiver<()>> {
    let pidfd = pidfd.try_clone_to_owned()?;
    let termination = process_setup::termination_descriptor()?;
    let (disks_open, disks_released) = sync_channel(0);
    thread::Builder::new().name("watch".to_owned()).stack_size(STACK_BYTES).spawn(move || {
        let devices = watch(&pidfd, &termination, devices, &inputs);
        for device in devices {
            if matches!(device, Device::Block(_)) {
                device.wait();
            }
        }
        drop::<SyncSender<()>>(disks_open);
    })?;
    Ok(disks_released)
}

/// Returns the devices that were left when the VMM ended.
fn watch(
    pidfd: &OwnedFd,
    termination: &OwnedFd,
    mut devices: Vec<Device>,
    inputs: &SyncSender<Input>,
) -> Vec<Device> {
    let mut terminated = false;
    loop {
        let mut descriptors = vec![PollFd::new(pidfd, PollFlags::IN)];
        descriptors.extend(
            devices.iter().map(|device| PollFd::from_borrowed_fd(device.end_descriptor(), PollFlags::IN)),
        );
        if !terminated {
            descriptors.push(PollFd::new(termination, PollFlags::IN));
        }
        if poll(&mut descriptors, None).is_err() {
            continue;
        }
        let ready: Vec<bool> = descriptors.iter().map(|entry| !entry.revents().is_empty()).collect();
        if ready.first() == Some(&true) {
            // The main thread is gone only when everything is over.
            let _ = inputs.send(Input::VmmEnded);
            return devices;
        }
        if !terminated && ready.last() == Some(&true) {
            terminated = true;
            let _ = inputs.send(Input::Terminate);
        }
        let ended = (0..devices.len()).find(|index| ready.get(index + 1) == Some(&true));
        if let Some(index) = ended {
            let end = devices.swap_remove(index).wait();
            if !ends_within_grace(pidfd.as_fd()) {
                let _ = inputs.send(Input::DeviceEnded(end));
            }
        }
    }
}

fn ends_within_grace(pidfd: BorrowedFd<'_>) -> bool {
    let mut descriptors = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
    matches!(poll(&mut descriptors, Some(&GRACE)), Ok(count) if count > 0)
}

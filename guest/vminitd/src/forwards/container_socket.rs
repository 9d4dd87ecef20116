//! Connecting to a Unix socket by its path in the container.
//!
//! Paths are resolved by connect(2) itself, so it must be called where the container's root is: by a
//! child that shares PID 1's descriptors and memory and enters the container's mount namespace.

use std::ffi::c_void;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, OFlags, fstat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect as connect_to, socket_with,
};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::mount_points;
use crate::process::clone::{self, Stack};

/// The child's order and its result; PID 1 owns both.
struct Order<'a> {
    namespace: BorrowedFd<'a>,
    path: &'a [u8],
    address: &'a SocketAddrUnix,
    socket: &'a OwnedFd,
    outcome: Result<(), Errno>,
}

/// Returns a connected socket that never blocks.
pub(super) fn connect(stack: &mut Stack, namespace: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // Overwritten by the child, unless it dies before.
    let outcome = Err(Errno::CHILD);
    let mut order = Order { namespace, path, address: &address, socket: &socket, outcome };
    // SAFETY: the order outlives the call, during which this thread sleeps; the child allocates only
    // what it frees.
    let child =
        unsafe { clone::clone(libc::CLONE_FILES as u64, Some(stack), None, main, (&raw mut order).cast()) }?;
    // It has exited; there is nothing to learn from its status.
    let _ = waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED);
    order.outcome.map(|()| socket)
}

/// Entered by the child.
unsafe extern "C" fn main(argument: *mut c_void) -> ! {
    // SAFETY: the order of `connect`, which nobody else uses meanwhile.
    let order = unsafe { &mut *argument.cast::<Order<'_>>() };
    order.outcome = connect_inside(order);
    // SAFETY: ends the process without running what belongs to PID 1.
    unsafe { libc::_exit(0) }
}

fn connect_inside(order: &Order<'_>) -> Result<(), Errno> {
    move_into_link_name_space(order.namespace, Some(LinkNameSpaceType::Mount))?;
    // Magic links could lead to PID 1's descriptors, which are the child's own. A container that puts
    // one there after this look reaches no more than sockets of its own machine.
    let place = mount_points::open_with(order.path, OFlags::PATH)?;
    if FileType::from_raw_mode(fstat(&place)?.st_mode) != FileType::Socket {
        return Err(Errno::NOTSOCK);
    }
    drop(place);
    connect_to(order.socket, order.address)
}

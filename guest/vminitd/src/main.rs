//! PID 1 of every guest.
//!
//! ```text
//! dial host ── Hello ──▶          fixed mounts, while the answer is on its way
//!           ◀── Start ──          image layers, overlay, cgroup, network
//!                                 clone3 ─▶ child: mounts inside the container, execve
//!           ── ProcessStarted ──▶ event loop: control connection, pidfds, stdio
//! ```
//!
//! It is one thread and forks nothing but the container's own processes. Under User-Mode Linux a
//! system call costs about 28 µs and a page fault twenty times its native price, therefore the
//! code prefers one call over two everywhere, and shares its memory with a child until the execve.
#![cfg_attr(not(test), no_main)]

mod boot;
mod built_in;
mod capabilities;
mod cgroup;
mod clock;
mod control;
mod devices_directory;
mod emulation;
mod entropy;
mod event_loop;
mod failure;
mod forwards;
mod generated_files;
mod image_disk;
mod mount_options;
mod mount_points;
mod mounts;
mod netlink;
mod network;
mod process;
mod resource_limits;
mod root_filesystem;
mod scheduling;
mod shutdown;
mod statistics;
mod streams;
mod sysctl;
mod unused_names;
mod user;
mod volume_content;
mod vsock;

/// Entered by the C runtime. Rust's own start-up code is left out: its nine system calls set up
/// things that PID 1 does not use.
#[cfg(not(test))]
#[unsafe(no_mangle)]
extern "C" fn main() -> libc::c_int {
    boot::run()
}

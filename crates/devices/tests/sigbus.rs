//! A monitor that truncates the guest's memory
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod guest;

use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use bulkhead_devices::{SIGBUS_EXIT_CODE, VsockConfiguration, VsockDevice, install_sigbus_guard};
use guest::Guest;

const CHILD: &str = "BULKHEAD_TEST_SIGBUS_CHILD";

/// The test that runs this one in a process of its own sees how it ends.
#[test]
fn truncated_memory_ends_the_process() {
    if std::env::var_os(CHILD).is_some() {
        install_sigbus_guard().unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (device, _accepted) = VsockDevice::spawn(ours, VsockConfiguration::new("vsock", [1])).unwrap();
        let guest = Guest::connect(theirs, 3);
        rustix::fs::ftruncate(&guest.memory_file, 0).unwrap();
        guest.kick(1);
        let _ = device.wait();
        unreachable!("the device survived");
    }
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "truncated_memory_ends_the_process"])
        .env(CHILD, "1")
        .status()
        .unwrap();
    assert_eq!((status.code(), status.signal()), (Some(SIGBUS_EXIT_CODE), None));
}

//! The jail, seen from inside: a program in place of the monitor tries to get out.
#![allow(dead_code, unreachable_pub, reason = "each suite uses a part of the fixture")]

mod fixture;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use bulkhead_runtime_control::Event;
use fixture::container::{Container, specification};

/// errno(3)
const EPERM: &str = "errno 1";
const ENOENT: &str = "errno 2";
const ESRCH: &str = "errno 3";
const EROFS: &str = "errno 30";

fn compile() -> PathBuf {
    let program = std::env::temp_dir().join(format!("bulkhead-stand-in-{}", std::process::id()));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/jail/stand_in.rs");
    let status = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--edition=2021", "-O", "-C", "target-feature=+crt-static", "-A", "warnings", "-o"])
        .arg(&program)
        .arg(source)
        .status()
        .unwrap();
    assert!(status.success());
    program
}

fn findings() -> BTreeMap<String, String> {
    let mut specification = specification(&["true"]);
    specification.vmm.kernel = compile();
    specification.vmm.memory_bytes = 64 << 20;
    let mut container = Container::start(&specification, &[]);
    // It never speaks vhost-user and ends by itself: the start fails.
    let event = container.control.next_event();
    assert!(matches!(event, Event::StartFailed(_)), "{event:?}");
    container.expect_stopped();
    fs::remove_file(&specification.vmm.kernel).unwrap();
    let console = fs::read_to_string(container.durable.join("console.log")).unwrap();
    console
        .lines()
        .filter_map(|line| line.split_once('=').map(|(name, result)| (name.to_owned(), result.to_owned())))
        .collect()
}

#[test]
fn a_hostile_monitor_finds_nothing_to_work_with() {
    let found = findings();
    let expect = |name: &str, allowed: &[&str]| {
        let result = found.get(name).map_or("nothing", String::as_str);
        assert!(allowed.contains(&result), "{name}: {result}, not one of {allowed:?}\n{found:#?}");
    };
    expect("end", &["1"]);
    expect("pid", &["1"]);
    expect("parent", &["0"]);
    expect("root", &["initrd scratch"]);
    expect("parents", &["initrd scratch"]);
    expect("read_passwd", &[ENOENT]);
    expect("read_proc", &[ENOENT]);
    expect("write_root", &[EROFS]);
    expect("write_initrd", &[EROFS, "errno 13"]);
    expect("chmod_root", &[EROFS, EPERM]);
    expect("write_scratch", &["succeeded"]);
    expect("scratch_mib", &["64", "65"]);
    expect("scratch_inodes_bounded", &["true"]);
    for denied in ["mount_tmpfs", "remount_root", "chroot", "user_namespace", "network_namespace"] {
        expect(denied, &[EPERM]);
    }
    for denied in ["raw_socket", "packet_socket"] {
        expect(denied, &[EPERM]);
    }
    expect("signal_host_init_group", &[ESRCH]);
    for pid in [2, 100, 1000] {
        expect(&format!("signal_{pid}"), &[ESRCH]);
        expect(&format!("trace_{pid}"), &[ESRCH]);
    }
    // The loopback of a new network namespace is down.
    expect("connect_loopback", &["errno 101"]);
    expect("listen_unix", &[EROFS]);
    expect("connect_bus", &[ENOENT]);
    // stdin, console, two disks, vsock.
    expect("descriptors", &["0 1 2 3 4 5"]);
    expect("no_new_privs", &["1"]);
    expect("securebits", &["239"]);
    expect("bounding_set", &["0"]);
    expect("capabilities", &["0"]);
    expect("death_signal", &["9"]);
    expect("core_limit", &["0"]);
    expect("children_bounded", &["true"]);
    expect("environment", &["2"]);
    expect("directory", &["/"]);
    if rustix::process::geteuid().is_root() {
        let uid: u32 = found["uid"].parse().unwrap();
        assert!((0x7000_0000..0x7800_0000).contains(&uid), "{uid}");
        assert_eq!(found["uid"], found["gid"]);
        expect("groups", &["0"]);
        expect("become_root", &[EPERM]);
    }
}

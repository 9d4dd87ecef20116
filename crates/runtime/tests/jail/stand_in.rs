//! A monitor that turned against its host: tries what an attacker would and prints what it found, one
//! `name=result` per line. Compiled by the test, static and alone.

use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;

extern "C" {
    fn mount(source: *const u8, target: *const u8, kind: *const u8, flags: u64, data: *const u8) -> i32;
    fn kill(pid: i32, signal: i32) -> i32;
    fn getpid() -> i32;
    fn getppid() -> i32;
    fn getuid() -> u32;
    fn getgid() -> u32;
    fn getgroups(size: i32, list: *mut u32) -> i32;
    fn setuid(uid: u32) -> i32;
    fn unshare(flags: i32) -> i32;
    fn chroot(path: *const u8) -> i32;
    fn socket(domain: i32, kind: i32, protocol: i32) -> i32;
    fn fcntl(fd: i32, command: i32, ...) -> i32;
    fn prctl(option: i32, ...) -> i32;
    fn getrlimit(resource: i32, limits: *mut [u64; 2]) -> i32;
    fn personality(persona: u64) -> i32;
    fn fork() -> i32;
    fn pause() -> i32;
    fn ptrace(request: i64, pid: i32, address: u64, data: u64) -> i64;
    fn syscall(number: i64, ...) -> i64;
}

fn say(name: &str, result: impl std::fmt::Display) {
    println!("{name}={result}");
}

fn call(name: &str, result: i64) {
    let text = if result < 0 {
        format!("errno {}", std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
    } else {
        "succeeded".to_owned()
    };
    say(name, text);
}

fn try_io<T>(name: &str, result: std::io::Result<T>) {
    match result {
        Ok(_) => say(name, "succeeded"),
        Err(error) => say(name, format!("errno {}", error.raw_os_error().unwrap_or(0))),
    }
}

fn list(folder: &str) -> String {
    let mut names: Vec<String> = match fs::read_dir(folder) {
        Ok(entries) => entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect(),
        Err(error) => vec![format!("errno {}", error.raw_os_error().unwrap_or(0))],
    };
    names.sort();
    names.join(" ")
}

fn files() {
    say("root", list("/"));
    say("parents", list("/../../../.."));
    try_io("read_passwd", fs::read("/etc/passwd"));
    try_io("read_proc", fs::read("/proc/self/status"));
    try_io("write_root", fs::write("/file", b"x"));
    try_io("write_initrd", fs::OpenOptions::new().write(true).open("/initrd"));
    try_io("chmod_root", fs::set_permissions("/", fs::Permissions::from_mode(0o777)));
    try_io("write_scratch", fs::write("/scratch/file", b"x"));
    say("scratch_owner", fs::metadata("/scratch").map(|m| m.uid().to_string()).unwrap_or_default());
    // Fills what there is.
    let mut total = 0_u64;
    if let Ok(mut file) = fs::File::create("/scratch/full") {
        let block = vec![1_u8; 1 << 20];
        while let Ok(count) = file.write(&block) {
            total += count as u64;
            if total > 1 << 30 {
                break;
            }
        }
        let _ = fs::remove_file("/scratch/full");
    }
    say("scratch_mib", total >> 20);
    let mut inodes = 0;
    while inodes < 1000 && fs::write(format!("/scratch/{inodes}"), b"").is_ok() {
        inodes += 1;
    }
    say("scratch_inodes_bounded", inodes < 100);
}

fn main() {
    unsafe {
        // Or a write beyond the limits would be the end of this program.
        syscall(13, 25_i64, [1_u64, 0, 0, 0].as_ptr(), 0_i64, 8_i64);
        say("pid", getpid());
        say("parent", getppid());
        say("uid", getuid());
        say("gid", getgid());
        say("groups", getgroups(0, std::ptr::null_mut()));
        files();
        call("mount_tmpfs", mount(b"x\0".as_ptr(), b"/scratch\0".as_ptr(), b"tmpfs\0".as_ptr(), 0, std::ptr::null()).into());
        call("remount_root", mount(b"x\0".as_ptr(), b"/\0".as_ptr(), b"\0".as_ptr(), 32, std::ptr::null()).into());
        call("become_root", setuid(0).into());
        call("chroot", chroot(b"/scratch\0".as_ptr()).into());
        call("user_namespace", unshare(0x1000_0000).into());
        call("network_namespace", unshare(0x4000_0000).into());
        for (name, target) in [("signal_host_init_group", -1), ("signal_parent", getppid())] {
            if target != 0 {
                call(name, kill(target, 0).into());
            }
        }
        for pid in [2, 100, 1000] {
            call(&format!("signal_{pid}"), kill(pid, 0).into());
            call(&format!("trace_{pid}"), ptrace(16, pid, 0, 0));
        }
        call("raw_socket", socket(2, 3, 1).into());
        call("packet_socket", socket(17, 3, 0).into());
        try_io("connect_loopback", std::net::TcpStream::connect("127.0.0.1:22"));
        try_io("listen_unix", UnixListener::bind("/socket"));
        let name = std::os::unix::net::SocketAddr::from_pathname("/run/dbus/system_bus_socket").unwrap();
        try_io("connect_bus", std::os::unix::net::UnixStream::connect_addr(&name));
        let open: Vec<String> = (0..1024).filter(|fd| fcntl(*fd, 1) >= 0).map(|fd| fd.to_string()).collect();
        say("descriptors", open.join(" "));
        say("no_new_privs", prctl(39, 0, 0, 0, 0));
        say("securebits", prctl(27, 0, 0, 0, 0));
        say("bounding_set", (0..64).filter(|capability| prctl(23, *capability as u64, 0, 0, 0) == 1).count());
        say("death_signal", { let mut signal = 0_i32; prctl(2, &mut signal as *mut i32, 0, 0, 0); signal });
        let mut data = [0_u32; 6];
        syscall(125, [0x2008_0522_u32, 0].as_ptr(), data.as_mut_ptr());
        say("capabilities", data.iter().sum::<u32>());
        let mut limits = [0; 2];
        getrlimit(4, &mut limits);
        say("core_limit", limits[1]);
        getrlimit(6, &mut limits);
        say("process_limit", limits[1]);
        say("personality", personality(0xffff_ffff));
        say("environment", std::env::vars().count());
        say("directory", std::env::current_dir().map(|path| path.display().to_string()).unwrap_or_default());
        // Last: as many processes as it gets.
        let mut children = 0;
        loop {
            match fork() {
                0 => { pause(); }
                -1 => break,
                _ => children += 1,
            }
            if children > 20_000 { break; }
        }
        say("children_bounded", children <= 20_000);
        say("stdin", std::io::stdin().as_raw_fd());
        say("end", 1);
    }
}

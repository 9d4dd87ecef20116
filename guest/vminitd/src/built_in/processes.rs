//! The container's processes.
//!
//! Read in a process of their PID namespace, from a proc of its own: what the container mounts at /proc is
//! its own affair. Their command lines are read from their memory, which may take as long as they like.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

use bulkhead_guest_protocol::frame;
use bulkhead_guest_protocol::messages::ProcessEntry;
use rustix::buffer::spare_capacity;
use rustix::fs::{Dir, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::BuiltInError;
use crate::boot::boot_time_ns;
use crate::mounts::FileSystem;

/// USER_HZ, the unit of times in proc.
const TICK_MS: u64 = 10;
/// More of a command line than anyone reads.
const MAXIMUM_COMMAND_BYTES: usize = 16 * 1024;
const MAXIMUM_FILE_BYTES: usize = 64 * 1024;

/// Writes the processes by their number.
pub(super) fn list(output: &mut impl Write) -> Result<(), BuiltInError> {
    let proc = FileSystem::open("proc")
        .and_then(|proc| proc.mount(MountAttrFlags::empty()))
        .map_err(BuiltInError::Proc)?;
    let mut numbers = numbers(&proc).map_err(BuiltInError::Processes)?;
    numbers.sort_unstable();
    let now_ms = boot_time_ns() / 1_000_000;
    for pid in numbers {
        if let Some(entry) = entry(&proc, pid, now_ms) {
            frame::write(output, &entry).map_err(BuiltInError::Output)?;
        }
    }
    output.flush().map_err(|error| BuiltInError::Output(frame::FrameError::Transfer(error)))
}

fn numbers(proc: &OwnedFd) -> Result<Vec<u32>, Errno> {
    let mut numbers = Vec::new();
    let directory = openat(proc, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    for item in Dir::new(directory)? {
        numbers.extend(item?.file_name().to_str().ok().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(numbers)
}

/// `None` for one that has ended meanwhile and for what is vminitd's own: it is outside the container's
/// control group.
fn entry(proc: &OwnedFd, pid: u32, now_ms: u64) -> Option<ProcessEntry> {
    let file = |name: &str, limit| read(proc, &format!("{pid}/{name}"), limit).ok();
    if !is_of_container(&file("cgroup", MAXIMUM_FILE_BYTES)?) {
        return None;
    }
    let stat = parse_stat(&file("stat", MAXIMUM_FILE_BYTES)?)?;
    let status = file("status", MAXIMUM_FILE_BYTES)?;
    let user_id = effective_user(&status).unwrap_or(0);
    let words = file("cmdline", MAXIMUM_COMMAND_BYTES).unwrap_or_default();
    Some(ProcessEntry {
        pid,
        parent_pid: stat.parent_pid,
        user_id,
        cpu_time_ms: stat.cpu_time_ms,
        age_ms: now_ms.saturating_sub(stat.started_ms),
        terminal: stat.terminal,
        command: command(&words, &stat.name),
        name: stat.name,
        state: stat.state.into(),
        nice: stat.nice,
        threads: stat.threads,
        process_group: stat.process_group,
        session: stat.session,
        virtual_memory_bytes: size(&status, b"VmSize:"),
        resident_memory_bytes: size(&status, b"VmRSS:"),
    })
}

fn is_of_container(cgroup: &[u8]) -> bool {
    cgroup.split(|byte| *byte == b'\n').any(|line| {
        line.strip_prefix(b"0::/container").is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    })
}

#[derive(Debug, PartialEq, Eq)]
struct ProcessStat {
    name: Vec<u8>,
    state: u8,
    parent_pid: u32,
    process_group: u32,
    session: u32,
    terminal: u32,
    cpu_time_ms: u64,
    nice: i32,
    threads: u32,
    started_ms: u64,
}

/// proc_pid_stat(5). The name is whatever the process likes, parentheses and spaces included.
fn parse_stat(text: &[u8]) -> Option<ProcessStat> {
    let open = text.iter().position(|byte| *byte == b'(')?;
    let close = text.iter().rposition(|byte| *byte == b')')?;
    let name = text.get(open + 1..close)?.to_vec();
    let rest = std::str::from_utf8(text.get(close + 1..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // The first of these is field 3 of the manual page.
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let small = |field: usize| u32::try_from(number(field)?).ok();
    Some(ProcessStat {
        name,
        state: *fields.first()?.as_bytes().first()?,
        parent_pid: small(4)?,
        process_group: small(5)?,
        session: small(6)?,
        terminal: small(7)?,
        cpu_time_ms: number(14)?.saturating_add(number(15)?).saturating_mul(TICK_MS),
        nice: fields.get(19 - 3)?.parse().ok()?,
        threads: small(20)?,
        started_ms: number(22)?.saturating_mul(TICK_MS),
    })
}

fn effective_user(status: &[u8]) -> Option<u32> {
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Uid:"))?;
    std::str::from_utf8(line).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Of a line such as `VmRSS:      1024 kB`; kernel threads have none.
fn size(status: &[u8], key: &[u8]) -> u64 {
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(key));
    let number =
        line.and_then(|line| std::str::from_utf8(line).ok()?.split_ascii_whitespace().next()?.parse().ok());
    number.map_or(0, |kibibytes: u64| kibibytes.saturating_mul(1024))
}

/// Words joined by spaces; without any, the name in brackets as ps(1) shows it.
fn command(words: &[u8], name: &[u8]) -> Vec<u8> {
    let end = words.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    if end == 0 {
        return [b"[", name, b"]"].concat();
    }
    words[..end].iter().map(|byte| if *byte == 0 { b' ' } else { *byte }).collect()
}

fn read(directory: impl AsFd, path: &str, limit_bytes: usize) -> Result<Vec<u8>, Errno> {
    let file = openat(directory, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut bytes = Vec::with_capacity(1024);
    while bytes.len() < limit_bytes && rustix::io::read(&file, spare_capacity(&mut bytes))? > 0 {
        bytes.reserve(1024);
    }
    bytes.truncate(limit_bytes);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_survived() {
        let text = b"7 (a) b (c) R 1 7 8 34816 7 4194304 90 0 0 0 12 3 0 0 20 -5 2 0 1234 8192 3 1\n";
        let expected = ProcessStat {
            name: b"a) b (c".to_vec(),
            state: b'R',
            parent_pid: 1,
            process_group: 7,
            session: 8,
            terminal: 34816,
            cpu_time_ms: 150,
            nice: -5,
            threads: 2,
            started_ms: 12340,
        };
        assert_eq!(parse_stat(text), Some(expected));
        for broken in [&b""[..], b"7 (x", b"7 )x( R 1", b"7 (x) R 1 7"] {
            assert_eq!(parse_stat(broken), None);
        }
    }

    #[test]
    fn lines_are_read_as_ps_does() {
        assert_eq!(effective_user(b"Name:\tx\nUid:\t0\t1000\t0\t0\n"), Some(1000));
        assert_eq!(size(b"Name:\tx\nVmRSS:\t    12 kB\n", b"VmRSS:"), 12 << 10);
        assert_eq!(size(b"Name:\tx\n", b"VmRSS:"), 0);
        assert_eq!(command(b"sh\0-c\0exit\0", b"sh"), b"sh -c exit");
        assert_eq!(command(b"", b"kworker"), b"[kworker]");
        assert!(is_of_container(b"0::/container\n"));
        assert!(is_of_container(b"0::/container/init.scope\n"));
        assert!(!is_of_container(b"0::/\n"));
        assert!(!is_of_container(b"0::/containers\n"));
    }
}

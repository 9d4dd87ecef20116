//! What idle containers and an idle daemon cost.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::Tool;

const CONTAINERS: u64 = 20;
/// Until caches have filled and late work is done.
const SETTLE: Duration = Duration::from_secs(5);

/// Prints the host's memory for each idle container of both tools, and that of our daemon.
pub(crate) fn print(ours: &dyn Tool, peer: &dyn Tool, apiserver_pid: u32) -> Result<()> {
    for tool in [ours, peer] {
        let each_kib = of_idle_container(tool)?;
        println!("{:<32} {:>8.1} MiB", format!("idle container, {}", tool.name()), mebibytes(each_kib));
    }
    let before = cpu_ticks(apiserver_pid)?;
    thread::sleep(SETTLE);
    let ticks = cpu_ticks(apiserver_pid)? - before;
    let resident_kib = field(&format!("/proc/{apiserver_pid}/status"), "VmRSS:")?;
    println!("{:<32} {:>8.1} MiB", "apiserver, resident", mebibytes(resident_kib));
    println!("{:<32} {ticks:>8} ticks of CPU in {} s", "apiserver, idle", SETTLE.as_secs());
    Ok(())
}

fn of_idle_container(tool: &dyn Tool) -> Result<u64> {
    let names: Vec<String> = (0..CONTAINERS).map(|number| format!("idle{number}")).collect();
    // The first one fills caches that all share.
    tool.start_idle("idle-first")?;
    thread::sleep(SETTLE);
    let before_kib = field("/proc/meminfo", "MemAvailable:")?;
    for name in &names {
        tool.start_idle(name)?;
    }
    thread::sleep(SETTLE);
    let after_kib = field("/proc/meminfo", "MemAvailable:")?;
    tool.remove(&names)?;
    tool.remove(&["idle-first".to_owned()])?;
    Ok(before_kib.saturating_sub(after_kib) / CONTAINERS)
}

/// A number in KiB.
fn field(path: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()).and_then(|word| word.parse().ok());
    number.with_context(|| format!("{path} has no {name}"))
}

/// User and system time, proc_pid_stat(5) fields 14 and 15.
fn cpu_ticks(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let (_, fields) = text.rsplit_once(')').with_context(|| format!("{path} is not as expected"))?;
    Ok(fields.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<u64>().ok()).sum())
}

#[expect(clippy::cast_precision_loss, reason = "some digits are enough")]
fn mebibytes(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// Prints the most memory that the apiserver had during all that was measured.
pub(crate) fn print_peak(apiserver_pid: u32) -> Result<()> {
    let peak_kib = field(&format!("/proc/{apiserver_pid}/status"), "VmHWM:")?;
    println!("{:<32} {:>8.1} MiB", "apiserver, most that was resident", mebibytes(peak_kib));
    Ok(())
}

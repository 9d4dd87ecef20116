//! What the numbers were measured on.

use std::fs;
use std::process::Command;

/// Prints processor, kernel, load and versions.
pub(crate) fn print() {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let count = cpu.lines().filter(|line| line.starts_with("processor")).count();
    println!("processor  {count} x {}", model.trim_start_matches([' ', '\t', ':']));
    println!("kernel     {}", first_line("/proc/sys/kernel/osrelease"));
    println!("load       {}", first_line("/proc/loadavg"));
    println!(
        "kvm        {}",
        if fs::exists("/dev/kvm").unwrap_or(false) { "/dev/kvm exists" } else { "none" }
    );
    for (program, flag) in [("podman", "--version"), ("runc", "--version")] {
        let text = Command::new(program).arg(flag).output().map(|output| output.stdout).unwrap_or_default();
        println!("{program:<10} {}", String::from_utf8_lossy(&text).lines().next().unwrap_or("missing"));
    }
}

fn first_line(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().lines().next().unwrap_or("unknown").to_owned()
}

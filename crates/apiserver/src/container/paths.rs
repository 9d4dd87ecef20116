//! Paths of /proc and /sys that are hidden or read-only, as in Docker (moby, oci/defaults.go).

use bulkhead_api::error::ApiError;

use crate::error::invalid;

const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

pub(crate) fn default_masked() -> Vec<String> {
    MASKED.map(str::to_owned).into()
}

pub(crate) fn default_read_only() -> Vec<String> {
    READ_ONLY.map(str::to_owned).into()
}

/// What a configuration records: nothing when the usual default is in force, else the whole list.
pub(crate) fn extend(
    default: Vec<String>,
    further: &[String],
    is_special: bool,
) -> Result<Option<Vec<String>>, ApiError> {
    if further.is_empty() {
        return Ok(is_special.then_some(default));
    }
    let mut paths = if further.iter().any(|path| path == "NONE") { Vec::new() } else { default };
    for path in further.iter().filter(|path| *path != "NONE") {
        absolute(path)?;
        if !paths.contains(path) {
            paths.push(path.clone());
        }
    }
    Ok(Some(paths))
}

/// Checks a path inside a container; the guest resolves it below the container's root.
pub(crate) fn absolute(path: &str) -> Result<(), ApiError> {
    if path.starts_with('/') && !path.contains('\0') && path.len() < 4096 {
        Ok(())
    } else {
        Err(invalid(format!("'{}' is not an absolute path", shown(path))))
    }
}

/// The names of an absolute path, without regard to links.
pub(crate) fn normalized(path: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    names
}

/// A path of a stranger in an error: short, and on one line.
fn shown(path: &str) -> String {
    path.chars().take(200).flat_map(char::escape_default).collect()
}

/// Files of /proc that a mount may replace, as lxcfs does (runc, libcontainer/rootfs_linux.go, `checkProcMount`).
const REPLACEABLE: [&str; 11] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/net/dev",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
];

/// Refuses what is mounted over /proc or in it, where what protects the container is looked for, and over
/// /dev, without whose devices nothing starts.
pub(crate) fn mountable(destination: &str) -> Result<(), ApiError> {
    let names = normalized(destination);
    let reason = match names[..] {
        ["dev"] => "the container's devices are there",
        ["proc", ..] if !REPLACEABLE.contains(&&*format!("/{}", names.join("/"))) => {
            "/proc belongs to the container's kernel"
        }
        _ => return Ok(()),
    };
    Err(invalid(format!("nothing can be mounted over '{}': {reason}", shown(destination))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_and_dev_are_no_places_for_mounts() {
        for path in [
            "/proc",
            "/proc/",
            "//proc/self",
            "/x/../proc/1",
            "/proc/sys/kernel",
            "/./proc/net",
            "/dev",
            "/dev/.",
        ] {
            assert!(mountable(path).is_err(), "{path}");
        }
        for path in [
            "/process",
            "/x/proc",
            "/proc/..",
            "/proc/uptime",
            "/proc/../sys",
            "/dev/shm",
            "/devices",
            "/sys",
        ] {
            assert!(mountable(path).is_ok(), "{path}");
        }
    }

    #[test]
    fn none_empties_one_list() {
        let further = |paths: &[&str]| {
            let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
            extend(default_masked(), &paths, false)
        };
        assert_eq!(further(&[]).unwrap(), None);
        assert_eq!(further(&["NONE"]).unwrap().unwrap(), [""; 0]);
        assert_eq!(further(&["/a", "NONE"]).unwrap().unwrap(), ["/a"]);
        assert_eq!(further(&["/a", "/proc/kcore"]).unwrap().unwrap().len(), MASKED.len() + 1);
        assert!(further(&["relative"]).is_err());
    }
}

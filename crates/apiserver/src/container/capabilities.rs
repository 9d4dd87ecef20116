//! Capabilities of a container's processes, as bits by the numbers of linux/capability.h.

use bulkhead_api::container::ContainerConfiguration;
use bulkhead_api::error::ApiError;

use crate::error::invalid;

/// By number.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];
/// Docker's default set (moby, oci/caps/defaults.go).
const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];
/// Every capability.
pub(crate) const ALL: u64 = (1 << NAMES.len()) - 1;

/// What the processes of a container have.
pub(crate) fn of_container(configuration: &ContainerConfiguration) -> Result<u64, ApiError> {
    if configuration.privileged { Ok(ALL) } else { mask(&configuration.cap_add, &configuration.cap_drop) }
}

/// The set after `--cap-add` and `--cap-drop`, by Docker's rules: `ALL` is taken first on both sides.
pub(crate) fn mask(add: &[String], drop: &[String]) -> Result<u64, ApiError> {
    let (added, dropped) = (bits(add)?, bits(drop)?);
    Ok(match (added == ALL, dropped == ALL) {
        (true, true) => 0,
        (true, false) => ALL & !dropped,
        (false, true) => added,
        (false, false) => (default_mask() | added) & !dropped,
    })
}

/// "CAP_NET_ADMIN" or "ALL", as configurations show them.
pub(crate) fn canonical(names: &[String]) -> Result<Vec<String>, ApiError> {
    names
        .iter()
        .map(|name| Ok(number(name)?.map_or_else(|| "ALL".to_owned(), |bit| format!("CAP_{}", NAMES[bit]))))
        .collect()
}

fn default_mask() -> u64 {
    NAMES
        .iter()
        .enumerate()
        .filter(|(_, name)| DEFAULT.contains(name))
        .fold(0, |mask, (bit, _)| mask | 1 << bit)
}

fn bits(names: &[String]) -> Result<u64, ApiError> {
    names.iter().try_fold(0, |mask, name| Ok(mask | number(name)?.map_or(ALL, |bit| 1 << bit)))
}

/// `None` is `ALL`.
fn number(name: &str) -> Result<Option<usize>, ApiError> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if bare == "ALL" {
        return Ok(None);
    }
    NAMES.iter().position(|known| *known == bare).map(Some).ok_or_else(|| {
        let shown: String = name.chars().take(40).flat_map(char::escape_default).collect();
        invalid(format!("'{shown}' is not a capability"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_default_is_dockers() {
        // CapBnd of a Docker container.
        assert_eq!(mask(&[], &[]).unwrap(), 0xa804_25fb);
    }

    #[test]
    fn added_and_dropped_in_any_spelling() {
        let net_admin = 1 << 12;
        assert_eq!(mask(&names(&["cap_net_admin"]), &names(&["ALL"])).unwrap(), net_admin);
        assert_eq!(mask(&names(&["all"]), &names(&["NET_ADMIN"])).unwrap(), ALL & !net_admin);
        assert_eq!(mask(&[], &names(&["ALL"])).unwrap(), 0);
        assert_eq!(mask(&names(&["NET_ADMIN"]), &names(&["CHOWN"])).unwrap(), (0xa804_25fb | net_admin) & !1);
        assert!(mask(&names(&["CAP_\u{1b}"]), &[]).is_err());
        assert_eq!(canonical(&names(&["bpf", "All"])).unwrap(), ["CAP_BPF", "ALL"]);
    }
}

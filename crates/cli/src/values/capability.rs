//! Names of capabilities, capabilities(7).

use std::str::FromStr;

use super::{InvalidValue, invalid};

const NAMES: [&str; 41] = [
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

/// `CAP_NET_ADMIN`, or `ALL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Capability(String);

impl Capability {
    pub(crate) fn into_name(self) -> String {
        self.0
    }
}

impl FromStr for Capability {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let upper = text.to_ascii_uppercase();
        if upper == "ALL" {
            return Ok(Self(upper));
        }
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if NAMES.contains(&name) { Ok(Self(format!("CAP_{name}"))) } else { invalid("no such capability") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_case_and_the_prefix_is_optional() {
        for (text, expected) in [
            ("net_admin", Some("CAP_NET_ADMIN")),
            ("CAP_NET_ADMIN", Some("CAP_NET_ADMIN")),
            ("Cap_SetUid", Some("CAP_SETUID")),
            ("all", Some("ALL")),
            ("CAP_ALL", None),
            ("FLY", None),
            ("", None),
        ] {
            let parsed = text.parse::<Capability>().ok().map(Capability::into_name);
            assert_eq!(parsed.as_deref(), expected, "{text:?}");
        }
    }
}

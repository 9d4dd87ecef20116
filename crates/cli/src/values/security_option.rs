//! `--security-opt`

use std::str::FromStr;

use super::{InvalidValue, invalid};

const NO_NEW_PRIVILEGES: &str = "no-new-privileges";

/// What a machine of one's own has of Docker's options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SecurityOption {
    /// Whether programs may gain privileges by being executed.
    NoNewPrivileges(bool),
    /// What holds anyway: no filter, profile or label of the host is put on programs that have another kernel.
    Unconfined,
    /// No path is hidden or read-only.
    SystemPathsUnconfined,
}

impl FromStr for SecurityOption {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let (name, value) = text.split_once(['=', ':']).unwrap_or((text, "true"));
        match (name, value) {
            (NO_NEW_PRIVILEGES, "true") => Ok(Self::NoNewPrivileges(true)),
            (NO_NEW_PRIVILEGES, "false") => Ok(Self::NoNewPrivileges(false)),
            ("seccomp" | "apparmor", "unconfined") | ("label", "disable") => Ok(Self::Unconfined),
            ("systempaths", "unconfined") => Ok(Self::SystemPathsUnconfined),
            ("seccomp" | "apparmor" | "label", _) => invalid(
                "a container has a kernel of its own, and no profile of this host's: drop capabilities \
                 with --cap-drop",
            ),
            _ => {
                invalid("the security options are no-new-privileges[=true|false] and systempaths=unconfined")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_holds_is_taken() {
        let parse = |text: &str| text.parse::<SecurityOption>();
        for (text, allowed) in [
            ("no-new-privileges", true),
            ("no-new-privileges:true", true),
            ("no-new-privileges=false", false),
        ] {
            assert_eq!(parse(text), Ok(SecurityOption::NoNewPrivileges(allowed)));
        }
        for text in ["seccomp=unconfined", "apparmor:unconfined", "label=disable"] {
            assert_eq!(parse(text), Ok(SecurityOption::Unconfined));
        }
        for text in ["", "no-new-privileges=maybe", "writable-cgroups=true"] {
            assert!(parse(text).unwrap_err().to_string().contains("no-new-privileges"), "{text:?}");
        }
        for text in ["seccomp=profile.json", "apparmor=docker-default", "label=type:t"] {
            assert!(parse(text).unwrap_err().to_string().contains("--cap-drop"), "{text:?}");
        }
    }
}

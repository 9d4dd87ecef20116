//! Why a user has no subordinate ids.

use std::path::PathBuf;

use thiserror::Error;

/// As many as useradd(8) gives, login.defs(5).
const USUAL_COUNT: u64 = 65_536;

/// What the host lacks.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missing {
    /// No program to map them.
    #[error("{name} is not installed")]
    Program {
        /// newuidmap or newgidmap
        name: &'static str,
    },
    /// A program without the right to map them.
    #[error("'{}' is not set-user-ID root", program.display())]
    SetUserId {
        /// The program.
        program: PathBuf,
    },
    /// A program that gains nothing here.
    #[error("the services may gain no rights by '{}' (no_new_privs, or a bounding set without CAP_SETUID)", program.display())]
    Rights {
        /// The program.
        program: PathBuf,
    },
    /// Programs go by names of users.
    #[error("user {user} of the host has no name")]
    Name {
        /// His number.
        user: u32,
    },
    /// A group that the user has not got by his login.
    #[error(
        "the services run with group {group}, and newuidmap serves the user's primary group {primary} only"
    )]
    Group {
        /// Theirs.
        group: u32,
        /// His in /etc/passwd.
        primary: u32,
    },
    /// Nothing in /etc/subuid or /etc/subgid.
    #[error("{} give{} '{name}' no ids", files(*lacks_users, *lacks_groups), if *lacks_users && *lacks_groups { "" } else { "s" })]
    Ranges {
        /// Whom.
        name: String,
        /// From where on they are nobody's yet.
        first_free: u64,
        /// /etc/subuid has none.
        lacks_users: bool,
        /// /etc/subgid has none.
        lacks_groups: bool,
    },
}

fn files(lacks_users: bool, lacks_groups: bool) -> &'static str {
    match (lacks_users, lacks_groups) {
        (true, true) => "/etc/subuid and /etc/subgid",
        (true, false) => "/etc/subuid",
        _ => "/etc/subgid",
    }
}

impl Missing {
    /// The command that mends it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Program { .. } => "sudo apt-get install uidmap".to_owned(),
            Self::SetUserId { program } => format!("sudo chmod u+s {}", program.display()),
            Self::Rights { .. } | Self::Group { .. } => {
                "container system stop; container system start, from a login".to_owned()
            }
            Self::Name { user } => format!("sudo useradd --uid {user} NAME"),
            Self::Ranges { name, first_free, lacks_users, lacks_groups } => {
                let range = format!("{first_free}-{}", first_free + USUAL_COUNT - 1);
                let flag = |lacks, flag| if lacks { format!(" {flag} {range}") } else { String::new() };
                let users = flag(*lacks_users, "--add-subuids");
                format!("sudo usermod{users}{} {name}", flag(*lacks_groups, "--add-subgids"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_mended_by_a_command() {
        let ranges = |lacks_users, lacks_groups| {
            let name = "ann".to_owned();
            Missing::Ranges { name, first_free: 165_536, lacks_users, lacks_groups }
        };
        assert_eq!(
            ranges(true, true).remedy(),
            "sudo usermod --add-subuids 165536-231071 --add-subgids 165536-231071 ann"
        );
        assert_eq!(ranges(true, true).to_string(), "/etc/subuid and /etc/subgid give 'ann' no ids");
        assert_eq!(ranges(false, true).remedy(), "sudo usermod --add-subgids 165536-231071 ann");
        assert_eq!(ranges(false, true).to_string(), "/etc/subgid gives 'ann' no ids");
    }
}

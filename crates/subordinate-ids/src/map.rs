//! Mapping the ids of another process's user namespace.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use thiserror::Error;

use crate::{Range, SubordinateIds};

/// As much of a program's complaint as is told.
const MAXIMUM_COMPLAINT_BYTES: usize = 1024;

/// Why a namespace has no subordinate ids.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MapError {
    /// newuidmap or newgidmap does not start.
    #[error("cannot run '{}'", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// It refuses.
    #[error("'{}' refused to map the ids of /etc/subuid and /etc/subgid: {complaint}", program.display())]
    Refused {
        /// The program.
        program: PathBuf,
        /// What it says.
        complaint: String,
    },
    /// Who goes in is not there any more.
    #[error("cannot speak with a process in a new user namespace")]
    Speak(#[source] io::Error),
}

impl SubordinateIds {
    /// Waits until the process at the other end is in a new user namespace, maps the user and his subordinate ids
    /// there, and tells it. Nothing if it ends before.
    ///
    /// # Errors
    /// [`MapError`], of which the process is told as well.
    pub fn answer(&self, mut stream: UnixStream, process: u32) -> Result<(), MapError> {
        let mut byte = [0];
        match stream.read_exact(&mut byte) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(MapError::Speak(error)),
        }
        let outcome = self.map(process);
        let answer = outcome.as_ref().err().map(whole).unwrap_or_default();
        stream.write_all(answer.as_bytes()).map_err(MapError::Speak)?;
        outcome
    }

    fn map(&self, process: u32) -> Result<(), MapError> {
        let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        run(&self.map_users, process, user, &self.users)?;
        // As groups are subordinate, newgidmap leaves setgroups(2) to the namespace; user_namespaces(7).
        run(&self.map_groups, process, group, &self.groups)
    }
}

fn whole(error: &MapError) -> String {
    match error {
        MapError::Run { source, .. } => format!("{error}: {source}"),
        _ => error.to_string(),
    }
}

fn run(program: &Path, process: u32, own: u32, ranges: &[Range]) -> Result<(), MapError> {
    let mut command = Command::new(program);
    command.arg(process.to_string()).args(arguments(own, ranges)).env_clear().current_dir("/");
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output();
    let output = output.map_err(|source| MapError::Run { program: program.to_owned(), source })?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let mut complaint: String = text.trim().chars().take(MAXIMUM_COMPLAINT_BYTES).collect();
    if complaint.is_empty() {
        complaint = output.status.to_string();
    }
    Err(MapError::Refused { program: program.to_owned(), complaint: complaint.replace('\n', "; ") })
}

/// newuidmap(1): first id in the namespace, first id outside, how many.
fn arguments(own: u32, ranges: &[Range]) -> Vec<String> {
    let mut words = vec![0, own, 1];
    let mut next = 1_u32;
    for range in ranges {
        // There is no id that is the last.
        let count = range.count.min(u32::MAX - next);
        if count == 0 {
            break;
        }
        words.extend([next, range.first, count]);
        next += count;
    }
    words.iter().map(u32::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_is_root_and_ranges_follow() {
        let ranges = [Range { first: 100_000, count: 65_536 }, Range { first: 5000, count: 10 }];
        let expected = "0 1000 1 1 100000 65536 65537 5000 10";
        assert_eq!(arguments(1000, &ranges).join(" "), expected);
        let all = [Range { first: 1, count: u32::MAX - 1 }; 2];
        assert_eq!(arguments(0, &all).join(" "), "0 0 1 1 1 4294967294");
    }

    #[test]
    fn a_refusal_is_told_on_both_sides() {
        let ids = SubordinateIds {
            users: vec![Range { first: 5, count: 1 }],
            groups: Vec::new(),
            map_users: "/bin/false".into(),
            map_groups: "/nowhere/newgidmap".into(),
        };
        let told = |ids: &SubordinateIds| {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(b"n").unwrap();
            let error = ids.answer(ours, 1).unwrap_err();
            let mut told = String::new();
            theirs.read_to_string(&mut told).unwrap();
            assert_eq!(told, whole(&error));
            told
        };
        assert!(told(&ids).contains("'/bin/false' refused to map the ids"));
        let without = SubordinateIds { map_users: "/bin/true".into(), ..ids.clone() };
        assert!(told(&without).starts_with("cannot run '/nowhere/newgidmap': No such file"));
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        ids.answer(ours, 1).unwrap();
    }
}

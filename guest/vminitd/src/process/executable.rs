//! Finding and executing a program inside the container.

use std::ffi::{CStr, CString};

use bulkhead_guest_protocol::messages::failure::Code;
use rustix::fs::{Access, AtFlags, CWD, FileType, accessat, stat};
use rustix::io::Errno;
use thiserror::Error;

use super::command::Command;

/// Where Docker looks without PATH.
const DEFAULT_SEARCH_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why a program was not executed, in Docker's words.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum ExecutableError {
    #[error("exec: {name:?}: executable file not found in $PATH")]
    NotInSearchPath { name: String },
    #[error("exec: {name:?}: no such file or directory")]
    Missing { name: String },
    #[error("exec: {name:?}: its interpreter does not exist in the image")]
    NoInterpreter { name: String },
    #[error("exec: {name:?}: is a directory")]
    Directory { name: String },
    #[error("exec: {name:?}: permission denied")]
    Denied { name: String },
    #[error("exec: {name:?}: exec format error")]
    Format { name: String },
    #[error("exec: {name:?}")]
    Refused {
        name: String,
        #[source]
        source: Errno,
    },
}

impl ExecutableError {
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::NotInSearchPath { .. } | Self::Missing { .. } | Self::NoInterpreter { .. } => {
                Code::ExecutableNotFound
            }
            Self::Directory { .. } | Self::Denied { .. } | Self::Format { .. } | Self::Refused { .. } => {
                Code::ExecutableNotRunnable
            }
        }
    }
}

/// Replaces the caller with the program; returns why it could not.
pub(crate) fn execute(command: &mut Command) -> ExecutableError {
    let name = text(command.program());
    if command.program().contains(&b'/') {
        let Ok(path) = CString::new(command.program()) else { return ExecutableError::Missing { name } };
        let errno = command.execute(path);
        return describe(command.path(), name, errno);
    }
    drop(name);
    let mut worst = None;
    let mut tried = 0;
    while let Some(path) = candidate(command, tried) {
        // Tried rather than looked up first: a hit costs one call.
        match command.execute(path) {
            Errno::NOENT if accessat(CWD, command.path(), Access::EXISTS, AtFlags::empty()).is_err() => {}
            Errno::NOTDIR | Errno::NAMETOOLONG | Errno::LOOP => {}
            // execvp(3): a later directory may have one that may be executed.
            errno => worst = worst.or(Some((tried, errno))),
        }
        tried += 1;
    }
    let name = text(command.program());
    match worst.and_then(|(index, errno)| Some((candidate(command, index)?, errno))) {
        Some((path, errno)) => describe(&path, name, errno),
        None => ExecutableError::NotInSearchPath { name },
    }
}

fn candidate(command: &Command, index: usize) -> Option<CString> {
    candidates(command.variable(b"PATH").unwrap_or(DEFAULT_SEARCH_PATH), command.program()).nth(index)
}

/// Absolute directories only: a program of the working directory must be asked for with a slash.
fn candidates<'a>(search_path: &'a [u8], program: &'a [u8]) -> impl Iterator<Item = CString> + 'a {
    search_path
        .split(|byte| *byte == b':')
        .filter(|directory| directory.starts_with(b"/"))
        .filter_map(|directory| CString::new([directory, b"/", program].concat()).ok())
}

fn describe(path: &CStr, name: String, errno: Errno) -> ExecutableError {
    match errno {
        Errno::NOENT | Errno::NOTDIR if accessat(CWD, path, Access::EXISTS, AtFlags::empty()).is_ok() => {
            ExecutableError::NoInterpreter { name }
        }
        Errno::NOENT | Errno::NOTDIR => ExecutableError::Missing { name },
        Errno::ACCESS if is_directory(path) => ExecutableError::Directory { name },
        Errno::ACCESS | Errno::PERM => ExecutableError::Denied { name },
        Errno::NOEXEC => ExecutableError::Format { name },
        source => ExecutableError::Refused { name, source },
    }
}

fn is_directory(path: &CStr) -> bool {
    stat(path).is_ok_and(|status| FileType::from_raw_mode(status.st_mode) == FileType::Directory)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure_of(program: &str, search_path: &str) -> ExecutableError {
        let environment = [format!("PATH={search_path}").into_bytes()];
        execute(&mut Command::new(&[program.as_bytes().to_vec()], &environment).unwrap())
    }

    #[test]
    fn failures_are_told_apart() {
        let error = failure_of("no-such-program", "/usr/bin:/bin");
        assert_eq!(error.code(), Code::ExecutableNotFound);
        assert_eq!(error.to_string(), "exec: \"no-such-program\": executable file not found in $PATH");
        assert_eq!(failure_of("/no/such", "").code(), Code::ExecutableNotFound);
        assert_eq!(failure_of("/etc", ""), ExecutableError::Directory { name: "/etc".into() });
        assert_eq!(failure_of("/etc/passwd", ""), ExecutableError::Denied { name: "/etc/passwd".into() });
        assert_eq!(failure_of("passwd", "/etc"), ExecutableError::Denied { name: "passwd".into() });
        assert_eq!(failure_of("etc", "/:/nowhere").code(), Code::ExecutableNotRunnable);
        let script = std::env::temp_dir().join(format!("vminitd-script-{}", std::process::id()));
        std::fs::write(&script, "#!/no/interpreter\n").unwrap();
        std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let error = failure_of(script.to_str().unwrap(), "");
        std::fs::remove_file(&script).unwrap();
        assert!(matches!(error, ExecutableError::NoInterpreter { .. }), "{error}");
    }

    #[test]
    fn relative_directories_are_not_searched() {
        let found: Vec<_> = candidates(b"bin::./x:/usr/bin:/bin/", b"sh").collect();
        assert_eq!(found, [CString::new("/usr/bin/sh").unwrap(), CString::new("/bin//sh").unwrap()]);
    }
}

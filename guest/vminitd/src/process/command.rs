//! Arguments and environment in the form that execve(2) takes.

use std::ffi::{CStr, CString, c_char};

use rustix::io::Errno;
use thiserror::Error;

/// What the host sent cannot be executed by anyone.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum CommandError {
    #[error("no command specified")]
    Empty,
    #[error("argument {index} contains a NUL byte")]
    Argument { index: usize },
    #[error("environment entry {index} contains a NUL byte")]
    Environment { index: usize },
}

/// Strings and the pointers to them. The child adds what it finds in place, so that PID 1 frees it: the
/// child's own allocations would never be.
#[derive(Debug)]
pub(crate) struct Command {
    arguments: Vec<CString>,
    environment: Vec<CString>,
    argument_pointers: Vec<*const c_char>,
    environment_pointers: Vec<*const c_char>,
    /// The path that is being tried.
    path: CString,
}

impl Command {
    /// Copies what the host sent.
    pub(crate) fn new(arguments: &[Vec<u8>], environment: &[Vec<u8>]) -> Result<Self, CommandError> {
        if arguments.first().is_none_or(Vec::is_empty) {
            return Err(CommandError::Empty);
        }
        let arguments = strings(arguments).map_err(|index| CommandError::Argument { index })?;
        let environment = strings(environment).map_err(|index| CommandError::Environment { index })?;
        let argument_pointers =
            arguments.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect();
        let environment_pointers =
            environment.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect();
        Ok(Self { arguments, environment, argument_pointers, environment_pointers, path: CString::default() })
    }

    pub(crate) fn program(&self) -> &[u8] {
        self.arguments.first().map_or(b"", |name| name.as_bytes())
    }

    /// Value of the last entry of that name, as a shell would see it.
    pub(crate) fn variable(&self, name: &[u8]) -> Option<&[u8]> {
        self.environment.iter().rev().find_map(|entry| {
            let value = entry.as_bytes().strip_prefix(name)?;
            value.strip_prefix(b"=")
        })
    }

    /// Adds an entry to the environment.
    pub(crate) fn add_variable(&mut self, name: &[u8], value: &[u8]) {
        let entry = [name, b"=", value].concat();
        // A home directory with a NUL byte in it is nobody's.
        let Ok(entry) = CString::new(entry) else { return };
        if let Some(last) = self.environment_pointers.last_mut() {
            *last = entry.as_ptr();
            self.environment_pointers.push(std::ptr::null());
            self.environment.push(entry);
        }
    }

    /// Replaces the caller with the program at the path; returns why it could not.
    pub(crate) fn execute(&mut self, path: CString) -> Errno {
        self.path = path;
        // SAFETY: the path and both lists end with a null and live until the call fails.
        unsafe {
            libc::execve(
                self.path.as_ptr(),
                self.argument_pointers.as_ptr(),
                self.environment_pointers.as_ptr(),
            )
        };
        Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
    }

    /// The path last tried.
    pub(crate) fn path(&self) -> &CStr {
        &self.path
    }
}

fn strings(list: &[Vec<u8>]) -> Result<Vec<CString>, usize> {
    list.iter().enumerate().map(|(index, text)| CString::new(text.as_slice()).map_err(|_| index)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(list: &[&str]) -> Vec<Vec<u8>> {
        list.iter().map(|text| text.as_bytes().to_vec()).collect()
    }

    #[test]
    fn variables_are_found_and_added() {
        let mut command =
            Command::new(&bytes(&["sh"]), &bytes(&["PATH=/a", "PATHS=x", "PATH=/b", "E="])).unwrap();
        assert_eq!(command.variable(b"PATH"), Some(b"/b".as_slice()));
        assert_eq!(command.variable(b"E"), Some(b"".as_slice()));
        assert_eq!(command.variable(b"HOME"), None);
        command.add_variable(b"HOME", b"/root");
        assert_eq!(command.variable(b"HOME"), Some(b"/root".as_slice()));
        assert_eq!(command.environment_pointers.len(), 6);
        assert!(command.environment_pointers[5].is_null() && !command.environment_pointers[4].is_null());
    }

    #[test]
    fn what_execve_cannot_take_is_refused() {
        assert_eq!(Command::new(&[], &[]).unwrap_err(), CommandError::Empty);
        assert_eq!(Command::new(&bytes(&[""]), &[]).unwrap_err(), CommandError::Empty);
        assert_eq!(
            Command::new(&bytes(&["a", "b\0"]), &[]).unwrap_err(),
            CommandError::Argument { index: 1 }
        );
        assert_eq!(
            Command::new(&bytes(&["a"]), &bytes(&["\0"])).unwrap_err(),
            CommandError::Environment { index: 0 }
        );
    }
}

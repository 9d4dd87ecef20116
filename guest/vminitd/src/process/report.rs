//! How a child says why it did not come to execve: a record in memory that it shares with PID 1.

use std::fmt::{self, Write};

use bulkhead_guest_protocol::messages::{Failure, failure::Code};

const TEXT_BYTES: usize = 1020;

/// The record; empty until the child fails.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Report {
    code: i32,
    length: usize,
    text: [u8; TEXT_BYTES],
}

impl Report {
    pub(crate) const fn new() -> Self {
        Self { code: 0, length: 0, text: [0; TEXT_BYTES] }
    }

    /// Written by the child; the text is cut to its room.
    pub(crate) fn fail(&mut self, code: Code, error: &dyn std::error::Error) {
        self.length = 0;
        self.code = crate::failure::tell(code, error, self).into();
    }

    /// Read by PID 1.
    pub(crate) fn failure(&self) -> Option<Failure> {
        if self.code == 0 {
            return None;
        }
        let text = self.text.get(..self.length).unwrap_or_default();
        Some(Failure { code: self.code, message: String::from_utf8_lossy(text).into_owned() })
    }
}

impl Write for Report {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.text.get_mut(self.length..).unwrap_or_default();
        let count = room.len().min(text.len());
        room[..count].copy_from_slice(&text.as_bytes()[..count]);
        self.length += count;
        if count == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::UserError;

    #[test]
    fn long_texts_are_cut() {
        let mut report = Report::new();
        assert_eq!(report.failure(), None);
        report.fail(Code::UserNotFound, &UserError::NoUser { name: "x".repeat(5000) });
        let failure = report.failure().unwrap();
        assert_eq!(failure.code(), Code::UserNotFound);
        assert_eq!(failure.message.len(), TEXT_BYTES);
        assert!(failure.message.starts_with("unable to find user xxx"));
    }
}

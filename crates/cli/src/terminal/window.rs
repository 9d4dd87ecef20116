//! Size of a terminal's window.

use std::os::fd::AsFd;

/// Rows and columns; `None` when the terminal does not know.
pub(crate) fn size(terminal: &impl AsFd) -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(terminal).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

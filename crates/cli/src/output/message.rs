//! Lines for people, on stderr.

use std::io::Write;

/// One line. A terminal in raw mode needs the carriage return; elsewhere there is none.
pub(crate) fn line(text: &str) {
    let end = if crate::terminal::raw_mode::is_active() { "\r\n" } else { "\n" };
    // Whoever closed stderr does not want to know.
    let _ = std::io::stderr().lock().write_all(format!("{text}{end}").as_bytes());
}

/// Something odd that does not stop the command.
pub(crate) fn warning(text: &str) {
    line(&format!("Warning: {}", super::escape::text(text)));
}

/// Only with `--debug`.
pub(crate) fn debug(text: &str) {
    if DEBUG.load(std::sync::atomic::Ordering::Relaxed) {
        line(&format!("debug: {}", super::escape::text(text)));
    }
}

/// Whether `--debug` was given.
pub(crate) static DEBUG: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

//! Everything that is printed.
//!
//! [`render`] is the one place that turns objects into a format; the modules named after objects say
//! what their tables show. [`message`] writes to stderr, [`print`] to stdout. What a guest, an image or a
//! registry words passes through [`escape`] first.

pub(crate) mod archive;
pub(crate) mod containers;
pub(crate) mod disk_usage;
pub(crate) mod escape;
pub(crate) mod format;
pub(crate) mod help;
pub(crate) mod images;
pub(crate) mod json;
pub(crate) mod message;
pub(crate) mod networks;
pub(crate) mod processes;
pub(crate) mod progress;
pub(crate) mod properties;
mod registries;
pub(crate) mod render;
pub(crate) mod statistics;
pub(crate) mod system;
mod table;
mod toml_text;
pub(crate) mod version;
pub(crate) mod vocabulary;
pub(crate) mod volumes;
pub(crate) mod whole_file;
mod yaml;

use std::io::Write;

use crate::failure::Failure;

/// Writes a result to stdout, with a newline unless it is empty or ends with one.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    if text.is_empty() {
        return Ok(());
    }
    let mut stdout = std::io::stdout().lock();
    let newline: &[u8] = if text.ends_with('\n') { b"" } else { b"\n" };
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.write_all(newline))
        .and_then(|()| stdout.flush())
        .map_err(Failure::Output)
}

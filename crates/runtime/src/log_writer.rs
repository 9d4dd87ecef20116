//! stdio.log: one line per line of output, in the format of the Kubernetes CRI, so that existing log
//! shippers read it:
//!
//! ```text
//! 2026-01-02T03:04:05.123456789Z stdout F a whole line
//! 2026-01-02T03:04:05.123456789Z stdout P the beginning of a line that was still being written
//! ```
//!
//! Each piece of output is written with one write(2) as it comes: nothing is held back from `logs -f`,
//! and a flood comes in large pieces anyway.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bulkhead_runtime_control::LogLimits;

/// Written at once, at most, unless a line is longer.
const FLUSH_BYTES: usize = 64 * 1024;
/// Position of the tag in "… stdout F ", from the end.
const TAG_FROM_END: usize = 2;

/// Which output a line is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogStream {
    Stdout,
    Stderr,
}

/// Appends to a log; shared by the streams of a process.
#[derive(Debug)]
pub(crate) struct LogWriter {
    path: PathBuf,
    limits: LogLimits,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    length_bytes: u64,
    lines: Vec<u8>,
    failed: bool,
}

impl LogWriter {
    /// Opens or continues the log.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(crate) fn open(path: &Path, limits: LogLimits) -> io::Result<Self> {
        let file = append_to(path)?;
        let length_bytes = file.metadata()?.len();
        let state = State { file, length_bytes, lines: Vec::new(), failed: false };
        Ok(Self { path: path.to_owned(), limits, state: Mutex::new(state) })
    }

    /// Adds a piece of output. A log that cannot be written (a full disk) loses lines and stops nobody.
    pub(crate) fn write(&self, stream: LogStream, piece: &[u8]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.append(stream, piece, self) {
            Ok(()) => state.failed = false,
            Err(error) => {
                state.lines.clear();
                if !std::mem::replace(&mut state.failed, true) {
                    tracing::warn!("cannot write '{}': {error}", self.path.display());
                }
            }
        }
    }
}

/// `<name>.1` is younger than `<name>.2`.
fn rotated(path: &Path, age: u32) -> PathBuf {
    if age == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{age}"));
    name.into()
}

/// Makes room for a new file. The oldest goes first, so that whoever reads from the youngest to the oldest
/// meanwhile misses none.
fn rotate(path: &Path, limits: LogLimits) -> io::Result<()> {
    let oldest = limits.maximum_files.saturating_sub(1);
    if oldest == 0 {
        return fs::remove_file(path);
    }
    for age in (1..oldest).rev() {
        match fs::rename(rotated(path, age), rotated(path, age + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(path, rotated(path, 1))
}

fn append_to(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).open(path)
}

impl State {
    fn append(&mut self, stream: LogStream, piece: &[u8], log: &LogWriter) -> io::Result<()> {
        let name = match stream {
            LogStream::Stdout => "stdout",
            LogStream::Stderr => "stderr",
        };
        let whole = format!("{:.9} {name} F ", jiff::Timestamp::now()).into_bytes();
        // A file is not to be exceeded by what is written at once.
        let most = usize::try_from(log.limits.maximum_file_bytes).unwrap_or(FLUSH_BYTES).min(FLUSH_BYTES);
        let room = most.saturating_sub(whole.len() + 1).max(1);
        let lines = piece.split_inclusive(|byte| *byte == b'\n');
        for part in lines.flat_map(|line| line.chunks(room)) {
            // Short lines grow twenty-fold.
            if self.lines.len() + whole.len() + part.len() >= most {
                self.flush(log)?;
            }
            self.lines.extend_from_slice(&whole);
            self.lines.extend_from_slice(part);
            if !part.ends_with(b"\n") {
                let tag = self.lines.len() - part.len() - TAG_FROM_END;
                self.lines[tag] = b'P';
                self.lines.push(b'\n');
            }
        }
        self.flush(log)
    }

    fn flush(&mut self, log: &LogWriter) -> io::Result<()> {
        let added_bytes = self.lines.len() as u64;
        if added_bytes == 0 {
            return Ok(());
        }
        if self.length_bytes > 0 && self.length_bytes + added_bytes > log.limits.maximum_file_bytes {
            rotate(&log.path, log.limits)?;
            self.file = append_to(&log.path)?;
            self.length_bytes = 0;
        }
        self.file.write_all(&self.lines)?;
        self.length_bytes += added_bytes;
        self.lines.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("bulkhead-log-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn lines_are_whole_or_partial() {
        let folder = folder("lines");
        let path = folder.join("stdio.log");
        let log = LogWriter::open(&path, LogLimits::default()).unwrap();
        log.write(LogStream::Stdout, b"one\ntwo\nthr");
        log.write(LogStream::Stderr, b"\xff\n");
        log.write(LogStream::Stdout, b"ee\n");
        let text = fs::read(&path).unwrap();
        let lines: Vec<&[u8]> = text
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| &line[30..])
            .collect();
        let expected: [&[u8]; 5] =
            [b" stdout F one", b" stdout F two", b" stdout P thr", b" stderr F \xff", b" stdout F ee"];
        assert_eq!(lines, expected);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn f53_a_line_longer_than_a_file_may_be_is_cut() {
        let folder = folder("long");
        let path = folder.join("stdio.log");
        let limits = LogLimits { maximum_file_bytes: 1024, maximum_files: 100 };
        let log = LogWriter::open(&path, limits).unwrap();
        log.write(LogStream::Stdout, &[&[b'x'; 65_536][..], b"\n"].concat());
        let mut kept = 0;
        for age in 0..100 {
            let Ok(text) = fs::read_to_string(rotated(&path, age)) else { break };
            assert!(text.len() <= 1024, "{} bytes", text.len());
            kept += text.bytes().filter(|byte| *byte == b'x').count();
        }
        assert_eq!(kept, 65_536);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn f53_a_flood_fills_as_many_files_as_it_may_and_no_more() {
        for maximum_files in [1, 2, 5] {
            let folder = folder(&format!("flood-{maximum_files}"));
            let path = folder.join("stdio.log");
            let limits = LogLimits { maximum_file_bytes: 10_000, maximum_files };
            let log = LogWriter::open(&path, limits).unwrap();
            for number in 0..1000 {
                log.write(LogStream::Stdout, format!("{number:0100}\n").as_bytes());
            }
            let count = fs::read_dir(&folder).unwrap().count();
            assert_eq!(count, maximum_files as usize);
            let mut last = 1000;
            for age in 0..maximum_files {
                let text = fs::read_to_string(rotated(&path, age)).unwrap();
                assert!(text.len() <= 10_000, "{age}: {}", text.len());
                for line in text.lines().rev() {
                    last -= 1;
                    assert!(line.ends_with(&format!("{last:0100}")), "{age}: {line}");
                }
            }
            fs::remove_dir_all(folder).unwrap();
        }
    }
}

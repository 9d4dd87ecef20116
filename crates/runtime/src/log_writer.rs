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

/// Written at once, at least.
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
    maximum_file_bytes: u64,
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
        Ok(Self {
            path: path.to_owned(),
            maximum_file_bytes: limits.maximum_file_bytes,
            state: Mutex::new(state),
        })
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
        for line in piece.split_inclusive(|byte| *byte == b'\n') {
            self.lines.extend_from_slice(&whole);
            self.lines.extend_from_slice(line);
            if !line.ends_with(b"\n") {
                let tag = self.lines.len() - line.len() - TAG_FROM_END;
                self.lines[tag] = b'P';
                self.lines.push(b'\n');
            }
            // Short lines grow twenty-fold.
            if self.lines.len() >= FLUSH_BYTES {
                self.flush(log)?;
            }
        }
        self.flush(log)
    }

    fn flush(&mut self, log: &LogWriter) -> io::Result<()> {
        let added_bytes = self.lines.len() as u64;
        if self.length_bytes > 0 && self.length_bytes + added_bytes > log.maximum_file_bytes {
            let mut old = log.path.as_os_str().to_owned();
            old.push(".1");
            fs::rename(&log.path, &old)?;
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
    fn f53_a_flood_fills_two_files_and_no_more() {
        let folder = folder("flood");
        let path = folder.join("stdio.log");
        let log = LogWriter::open(&path, LogLimits { maximum_file_bytes: 10_000 }).unwrap();
        for _ in 0..1000 {
            log.write(LogStream::Stdout, &[b'x'; 100]);
        }
        let lengths: Vec<u64> =
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).collect();
        assert_eq!(lengths.len(), 2);
        assert!(lengths.iter().all(|length| *length <= 10_000));
        fs::remove_dir_all(folder).unwrap();
    }
}

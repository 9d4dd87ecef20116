//! Reads the files one after the other and turns them into frames.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::line::{Stream, frame, parse};
use super::view::{View, Window};
use super::{rotation, tail};

const BLOCK_BYTES: usize = 64 * 1024;
/// A "line" that never ends is no line of ours: what a helper writes is far shorter.
const LONGEST_LINE_BYTES: usize = 1 << 20;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Lines with a prefix.
    Lines,
    /// Bytes of a console; shown as stdout.
    Raw,
}

/// Position in a log and its rotated parts.
#[derive(Debug)]
pub(super) struct Reader {
    path: PathBuf,
    /// Most parts there can be, the one that is written included.
    parts: u32,
    format: Format,
    window: Window,
    timestamps: bool,
    /// Whether the next piece of stdout, of stderr, goes on with a line.
    is_within_line: [bool; 2],
    files: VecDeque<File>,
    /// Begin of a line whose end was not written yet.
    partial: Vec<u8>,
}

impl Reader {
    /// Opens the log at its beginning or where its last `tail` lines begin. A log that is not there
    /// yet is empty.
    pub(super) fn open(path: &Path, parts: u32, format: Format, view: &View) -> io::Result<Self> {
        let mut files = rotation::since(path, parts, None)?;
        if let Some(wanted) = view.tail {
            skip_to_tail(&mut files, format, wanted, &view.window)?;
        }
        Ok(Self {
            path: path.to_owned(),
            parts,
            format,
            window: view.window.clone(),
            timestamps: view.timestamps,
            is_within_line: [false; 2],
            files,
            partial: Vec::new(),
        })
    }

    /// Next frames, about 64 KiB; empty when all that was written has been read.
    pub(super) fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut block = vec![0; BLOCK_BYTES];
        loop {
            let Some(file) = self.files.front_mut() else {
                // Not there when we began.
                self.files = rotation::since(&self.path, self.parts, None)?;
                if self.files.is_empty() {
                    return Ok(Vec::new());
                }
                continue;
            };
            let count = file.read(&mut block)?;
            if count > 0 {
                let output = self.frames(&block[..count]);
                if output.is_empty() {
                    continue;
                }
                return Ok(output);
            }
            if self.files.len() > 1 {
                self.files.pop_front();
            } else if !self.rotate()? {
                return Ok(Vec::new());
            }
        }
    }

    /// Goes on with what is younger than the file just read to its end, if that was renamed or removed.
    fn rotate(&mut self) -> io::Result<bool> {
        let Some(current) = self.files.front() else { return Ok(false) };
        let younger = rotation::since(&self.path, self.parts, Some(current))?;
        // What was written between our last read and the rename is still in the old one.
        self.files.extend(younger);
        Ok(self.files.len() > 1)
    }

    fn frames(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut output = Vec::with_capacity(bytes.len() + 64);
        if self.format == Format::Raw {
            frame(Stream::Stdout, &[bytes], &mut output);
            return output;
        }
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.partial.len() + piece.len() > LONGEST_LINE_BYTES {
                self.partial.clear();
                continue;
            }
            if piece.last() != Some(&b'\n') {
                self.partial.extend_from_slice(piece);
                continue;
            }
            self.partial.extend_from_slice(&piece[..piece.len() - 1]);
            if let Some(line) = parse(&self.partial).filter(|line| self.window.contains(line.date)) {
                let is_within_line = &mut self.is_within_line[line.stream as usize - 1];
                let begin: [&[u8]; 2] =
                    if self.timestamps && !*is_within_line { [line.date, b" "] } else { [b"", b""] };
                let end: &[u8] = if line.complete { b"\n" } else { b"" };
                frame(line.stream, &[begin[0], begin[1], line.content, end], &mut output);
                *is_within_line = !line.complete;
            }
            self.partial.clear();
        }
        output
    }
}

/// Drops and seeks files so that reading begins with the last `wanted` lines.
fn skip_to_tail(
    files: &mut VecDeque<File>,
    format: Format,
    wanted: usize,
    window: &Window,
) -> io::Result<()> {
    let mut missing = wanted;
    let mut later = tail::Later::default();
    for index in (0..files.len()).rev() {
        let file = &mut files[index];
        let (start, found) = tail::start_of_last_lines(file, format, missing, window, &mut later)?;
        file.seek(SeekFrom::Start(start))?;
        missing -= found;
        if missing == 0 {
            files.drain(..index);
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write;

    use super::*;

    fn append(path: &Path, text: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn last(tail: usize) -> View {
        View { tail: Some(tail), ..View::default() }
    }

    /// Contents of all frames so far.
    fn drain(reader: &mut Reader) -> String {
        let mut text = Vec::new();
        loop {
            let mut frames = &reader.read().unwrap()[..];
            if frames.is_empty() {
                return String::from_utf8(text).unwrap();
            }
            while !frames.is_empty() {
                let length = u32::from_be_bytes(frames[4..8].try_into().unwrap()) as usize;
                text.extend_from_slice(&frames[8..8 + length]);
                frames = &frames[8 + length..];
            }
        }
    }

    #[test]
    fn pieces_of_lines_are_joined_and_broken_lines_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stdio.log");
        append(&path, "d stdout P one \nbroken\nd stdout F two\nd stderr F \nd stdout F thr");
        let mut reader = Reader::open(&path, 3, Format::Lines, &View::default()).unwrap();
        assert_eq!(drain(&mut reader), "one two\n\n");
        append(&path, "ee\n");
        assert_eq!(drain(&mut reader), "three\n");
    }

    #[test]
    fn rotation_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stdio.log");
        let mut reader = Reader::open(&path, 3, Format::Lines, &View::default()).unwrap();
        assert_eq!(drain(&mut reader), "");
        append(&path, "d stdout F 1\n");
        assert_eq!(drain(&mut reader), "1\n");
        append(&path, "d stdout F 2\n");
        std::fs::rename(&path, folder.path().join("stdio.log.1")).unwrap();
        append(&path, "d stdout F 3\n");
        assert_eq!(drain(&mut reader), "2\n3\n");
        let mut late = Reader::open(&path, 3, Format::Lines, &View::default()).unwrap();
        assert_eq!(drain(&mut late), "1\n2\n3\n");
    }

    #[test]
    fn the_tail_reaches_into_the_rotated_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stdio.log");
        append(&folder.path().join("stdio.log.1"), "d stdout F 1\nd stdout F 2\n");
        append(&path, "d stdout P 3\nd stdout F 3\nd stdout F 4\n");
        for (wanted, expected) in
            [(0, ""), (1, "4\n"), (2, "33\n4\n"), (3, "2\n33\n4\n"), (9, "1\n2\n33\n4\n")]
        {
            let mut reader = Reader::open(&path, 3, Format::Lines, &last(wanted)).unwrap();
            assert_eq!(drain(&mut reader), expected, "last {wanted}");
        }
        let mut console = Reader::open(&path, 3, Format::Raw, &last(1)).unwrap();
        assert_eq!(drain(&mut console), "d stdout F 4\n");
    }

    #[test]
    fn a_last_line_without_newline_counts_for_the_tail() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stdio.log");
        let shows = |wanted, expected| {
            let mut reader = Reader::open(&path, 3, Format::Lines, &last(wanted)).unwrap();
            assert_eq!(drain(&mut reader), expected, "last {wanted}");
        };
        append(&path, "d stdout F a\nd stdout F b\nd stdout P c\nd stdout P d\n");
        for (wanted, expected) in [(0, ""), (1, "cd"), (2, "b\ncd"), (3, "a\nb\ncd"), (4, "a\nb\ncd")] {
            shows(wanted, expected);
        }
        append(&path, "d stderr F e\n");
        shows(1, "e\n");
        shows(2, "cde\n");
        std::fs::rename(&path, folder.path().join("stdio.log.1")).unwrap();
        append(&path, "d stdout F f\nd stdout F g\n");
        shows(2, "f\ng\n");
    }

    #[test]
    fn lines_are_dated_and_chosen_by_their_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stdio.log");
        let date = |second: u32| format!("1970-01-01T00:00:{second:02}.000000000Z");
        for (second, rest) in [(1, "F one"), (2, "P tw"), (3, "F o"), (4, "F four"), (5, "F five")] {
            append(&path, &format!("{} stdout {rest}\n", date(second)));
        }
        let shown = |since: Option<i64>, until: Option<i64>, tail, timestamps| {
            let query = bulkhead_api::request::LogsQuery {
                since_us: since.map(|second| second * 1_000_000),
                until_us: until.map(|second| second * 1_000_000),
                tail,
                timestamps,
                ..Default::default()
            };
            drain(&mut Reader::open(&path, 3, Format::Lines, &View::from(query)).unwrap())
        };
        assert_eq!(shown(Some(4), None, None, false), "four\nfive\n");
        assert_eq!(shown(None, Some(3), None, false), "one\ntwo\n");
        assert_eq!(shown(Some(1), Some(4), Some(2), false), "two\nfour\n");
        assert_eq!(shown(Some(6), None, None, false), "");
        let dated = format!("{} two\n{} four\n", date(2), date(4));
        assert_eq!(shown(Some(2), Some(4), None, true), dated);
    }
}

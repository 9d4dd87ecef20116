//! The files of several daemons as one, by time.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Files of the log root; each may have a full one before it.
const NAMES: [&str; 2] = ["apiserver.log", "network.log"];
/// `2026-01-31T12:00:00.000000Z` at the beginning of a line.
const DATE_BYTES: usize = 27;

/// The logs of all daemons.
#[derive(Debug)]
pub(super) struct Logs {
    since: String,
    files: Vec<LogFile>,
}

/// One log, however often it is put aside meanwhile.
#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    current: Option<File>,
    /// What has no newline yet.
    partial: Vec<u8>,
    /// A line without a date belongs to the one before.
    last_date: String,
}

impl Logs {
    /// From that time on.
    pub(super) fn open(folder: &Path, since: String) -> Self {
        let files = NAMES.map(|name| LogFile {
            path: folder.join(name),
            current: None,
            partial: Vec::new(),
            last_date: String::new(),
        });
        Self { since, files: files.into() }
    }

    /// Lines that were written since the last call, sorted by time.
    pub(super) fn read(&mut self) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        for file in &mut self.files {
            file.read(&mut lines)?;
        }
        lines.retain(|(date, _)| *date >= self.since);
        // Stable: lines of one file stay in their order.
        lines.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(lines.into_iter().map(|(_, line)| line).collect())
    }
}

impl LogFile {
    fn read(&mut self, lines: &mut Vec<(String, String)>) -> io::Result<()> {
        if self.current.is_none() {
            let mut before = self.path.as_os_str().to_owned();
            before.push(".1");
            if let Some(mut before) = open(Path::new(&before))? {
                self.take(&mut before, lines)?;
            }
            self.current = open(&self.path)?;
        }
        while let Some(mut current) = self.current.take() {
            self.take(&mut current, lines)?;
            let newest = open(&self.path)?;
            match newest {
                Some(newest) if identity(&newest)? != identity(&current)? => {
                    // What was written between our reading and its being put aside.
                    self.take(&mut current, lines)?;
                    self.current = Some(newest);
                }
                _ => {
                    self.current = Some(current);
                    break;
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, file: &mut File, lines: &mut Vec<(String, String)>) -> io::Result<()> {
        file.read_to_end(&mut self.partial)?;
        let Some(end) = self.partial.iter().rposition(|byte| *byte == b'\n') else { return Ok(()) };
        let rest = self.partial.split_off(end + 1);
        for line in self.partial[..end].split(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(line).into_owned();
            if let Some(date) = date_of(&line) {
                date.clone_into(&mut self.last_date);
            }
            lines.push((self.last_date.clone(), line));
        }
        self.partial = rest;
        Ok(())
    }
}

fn date_of(line: &str) -> Option<&str> {
    line.get(..DATE_BYTES).filter(|date| date.ends_with('Z') && date.as_bytes()[10] == b'T')
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn identity(file: &File) -> io::Result<(u64, u64)> {
    let metadata = file.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::*;

    fn append(path: &Path, text: &str) {
        let mut file = File::options().create(true).append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn line(second: u32, text: &str) -> String {
        format!("2026-01-01T00:00:{second:02}.000000Z  INFO {text}\n")
    }

    #[test]
    fn lines_of_all_daemons_are_sorted_and_survive_a_rotation() {
        let folder = tempfile::tempdir().unwrap();
        let (api, network) = (folder.path().join("apiserver.log"), folder.path().join("network.log"));
        append(&folder.path().join("apiserver.log.1"), &(line(1, "old") + &line(3, "three")));
        append(&api, &(line(5, "five") + "  a backtrace\n" + &line(8, "eight")));
        append(&network, &(line(4, "four") + &line(6, "six")));
        let mut logs = Logs::open(folder.path(), "2026-01-01T00:00:02.000000Z".to_owned());
        let words = |lines: Vec<String>| -> Vec<String> {
            lines.iter().map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect()
        };
        assert_eq!(words(logs.read().unwrap()), ["three", "four", "five", "backtrace", "six", "eight"]);
        assert!(logs.read().unwrap().is_empty());

        append(&api, &line(9, "nine"));
        fs::rename(&api, folder.path().join("apiserver.log.1")).unwrap();
        append(&api, &line(10, "ten"));
        append(&api, "2026-01-01T00:00:11.000000Z  INFO half");
        assert_eq!(words(logs.read().unwrap()), ["nine", "ten"]);
        append(&api, " a line\n");
        assert_eq!(words(logs.read().unwrap()), ["line"]);
    }
}

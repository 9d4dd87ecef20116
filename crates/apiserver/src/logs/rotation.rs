//! The parts of a log: `<name>` is written, `<name>.1` is the one before it, and so on.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A log that is renamed each time we have looked at its parts is written faster than anybody reads.
const ATTEMPTS: usize = 10;

/// The parts that are younger than this one, or all, the oldest first. If it is gone, all are younger.
pub(super) fn since(path: &Path, parts: u32, known: Option<&File>) -> io::Result<VecDeque<File>> {
    let known = known.map(identity).transpose()?;
    let mut files = VecDeque::new();
    for _ in 0..ATTEMPTS {
        files.clear();
        for age in 0..parts.max(1) {
            // A part may be on its way from one name to the next.
            let Some(file) = open_if_there(&part(path, age))? else { continue };
            let found = identity(&file)?;
            if Some(found) == known {
                break;
            }
            // Renamed since we met it under its former name.
            let is_known = |other: &File| identity(other).is_ok_and(|other| other == found);
            if !files.iter().any(is_known) {
                files.push_front(file);
            }
        }
        let youngest = open_if_there(path)?.as_ref().map(identity).transpose()?;
        let met = files.back().map(identity).transpose()?.or(known);
        if youngest == met {
            break;
        }
    }
    Ok(files)
}

fn part(path: &Path, age: u32) -> PathBuf {
    match age {
        0 => path.to_owned(),
        age => {
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".{age}"));
            name.into()
        }
    }
}

fn identity(file: &File) -> io::Result<(u64, u64)> {
    let metadata = file.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

fn open_if_there(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;

    use super::*;

    fn texts(files: VecDeque<File>) -> Vec<String> {
        let read = |mut file: File| {
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            text
        };
        files.into_iter().map(read).collect()
    }

    #[test]
    fn parts_come_from_the_oldest_to_the_youngest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stdio.log");
        assert_eq!(texts(since(&path, 3, None).unwrap()), [""; 0]);
        fs::write(&path, "c").unwrap();
        fs::write(part(&path, 1), "b").unwrap();
        fs::write(part(&path, 2), "a").unwrap();
        fs::write(part(&path, 3), "beyond").unwrap();
        assert_eq!(texts(since(&path, 3, None).unwrap()), ["a", "b", "c"]);
        let known = File::open(part(&path, 2)).unwrap();
        assert_eq!(texts(since(&path, 3, Some(&known)).unwrap()), ["b", "c"]);
        let known = File::open(&path).unwrap();
        assert_eq!(texts(since(&path, 3, Some(&known)).unwrap()), [""; 0]);
        // Between two names, and gone.
        fs::rename(part(&path, 1), folder.path().join("elsewhere")).unwrap();
        assert_eq!(texts(since(&path, 3, None).unwrap()), ["a", "c"]);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "d").unwrap();
        assert_eq!(texts(since(&path, 3, Some(&known)).unwrap()), ["a", "d"]);
    }
}

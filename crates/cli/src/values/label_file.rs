//! Labels from files, written as environment variables are.

use std::path::Path;

use super::key_value::Label;
use super::{InvalidValue, environment_file};

/// Reads a file, which may be a pipe.
pub(crate) fn read(path: &Path) -> Result<Vec<Label>, InvalidValue> {
    environment_file::read_lines(path, "label file", |line| line.parse::<Label>().map(Some))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels");
        std::fs::write(&path, "# comment\n\n a.b=1 # kept\r\nbare\nempty=\n").unwrap();
        let labels: Vec<_> = read(&path).unwrap().into_iter().map(|label| (label.key, label.value)).collect();
        let expected = [("a.b", "1 # kept"), ("bare", ""), ("empty", "")];
        assert_eq!(labels, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        std::fs::write(&path, "a=1\n=2\n").unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.starts_with("label file") && error.contains("line 2"), "{error}");
    }
}

//! Environment variables from flags and files.
//!
//! One `KEY=VALUE` a line, `#` only at the begin of a line, no quotes, no expansion. A bare `KEY` copies
//! the caller's value and is skipped where there is none.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::{InvalidValue, invalid};

/// More than any process accepts (`ARG_MAX` of execve(2) is a quarter of an 8 MiB stack).
const MAXIMUM_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Reads a file, which may be a pipe.
pub(crate) fn read(path: &Path) -> Result<Vec<String>, InvalidValue> {
    read_lines(path, "env file", resolve)
}

/// What the lines of a file say; `what` it is, errors tell.
pub(crate) fn read_lines<T, I: IntoIterator<Item = T>>(
    path: &Path,
    what: &str,
    parse: impl Fn(&str) -> Result<I, InvalidValue>,
) -> Result<Vec<T>, InvalidValue> {
    let failed = |error| InvalidValue(format!("cannot read {what} '{}': {error}", path.display()));
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAXIMUM_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAXIMUM_FILE_BYTES {
        return invalid(format!("{what} '{}' is longer than 4 MiB", path.display()));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| InvalidValue(format!("{what} '{}' is not UTF-8", path.display())))?;
    parse_lines(&text, parse).map_err(|error| InvalidValue(format!("{what} '{}': {error}", path.display())))
}

fn parse_lines<T, I: IntoIterator<Item = T>>(
    text: &str,
    parse: impl Fn(&str) -> Result<I, InvalidValue>,
) -> Result<Vec<T>, InvalidValue> {
    let mut found = Vec::new();
    // Editors of Windows begin files with a byte order mark, which is of no name.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match parse(line) {
            Ok(items) => found.extend(items),
            Err(error) => return invalid(format!("line {}: {error}", index + 1)),
        }
    }
    Ok(found)
}

/// `KEY=VALUE` as it is, `KEY` with the caller's value, or nothing.
pub(crate) fn resolve(text: &str) -> Result<Option<String>, InvalidValue> {
    let (key, value) = text.split_once('=').map_or((text, None), |(key, value)| (key, Some(value)));
    if key.is_empty() {
        return invalid("an environment variable needs a name");
    }
    if key.chars().any(char::is_whitespace) {
        return invalid(format!("the name '{key}' contains white space"));
    }
    if text.contains('\0') {
        return invalid(format!("the variable '{key}' contains a NUL character"));
    }
    Ok(match value {
        Some(_) => Some(text.to_owned()),
        None => std::env::var(key).ok().map(|value| format!("{key}={value}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files() {
        let parse_file = |text: &str| parse_lines(text, resolve);
        let parsed = parse_file("# comment\n\nA=1\n  B = no\n").unwrap_err();
        assert!(parsed.to_string().contains("line 4"), "{parsed}");
        assert_eq!(
            parse_file("A=1\r\n#x\n  C=a=b #kept \nD=\"quoted\"\nE=\nSURELY_NOT_SET_HERE\n").unwrap(),
            ["A=1", "C=a=b #kept ", "D=\"quoted\"", "E="]
        );
        assert!(parse_file("=x").is_err());
        assert_eq!(parse_file("\u{feff}A=1\nB=\u{feff}\n").unwrap(), ["A=1", "B=\u{feff}"]);
    }

    #[test]
    fn a_bare_key_copies_the_callers_value() {
        let path = std::env::var("PATH").unwrap();
        assert_eq!(resolve("PATH").unwrap(), Some(format!("PATH={path}")));
        assert_eq!(resolve("SURELY_NOT_SET_HERE").unwrap(), None);
        assert!(resolve("").is_err());
        assert!(resolve("A=\0").is_err());
    }

    #[test]
    fn a_pipe_is_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let writer = std::thread::spawn({
            let path = path.clone();
            move || std::fs::write(path, "A=1\nB=2\n").unwrap()
        });
        assert_eq!(read(&path).unwrap(), ["A=1", "B=2"]);
        writer.join().unwrap();
        assert!(read(&folder.path().join("absent")).unwrap_err().to_string().contains("absent"));
    }
}

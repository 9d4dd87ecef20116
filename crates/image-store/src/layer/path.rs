//! Paths of tar entries.

use super::LayerError;

/// `PATH_MAX`, which no system call gets past.
const MAX_PATH_BYTES: usize = 4096;

/// Splits a path as Go's `filepath.Clean` would: absolute paths start at the layer's root, `.` and empty components
/// vanish, `..` takes back what stands before it and may not leave the root. Empty for the root itself.
pub(super) fn components(path: &[u8]) -> Result<Vec<&[u8]>, LayerError> {
    let invalid = || LayerError::Path { path: path[..path.len().min(MAX_PATH_BYTES)].to_vec() };
    if path.is_empty() || path.len() > MAX_PATH_BYTES {
        return Err(invalid());
    }
    let mut cleaned = Vec::new();
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => drop(cleaned.pop().ok_or_else(invalid)?),
            name => cleaned.push(name),
        }
    }
    Ok(cleaned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_within_the_root() {
        let cases: [(&[u8], Option<&[u8]>); 12] = [
            (b"a/b", Some(b"a/b")),
            (b"./a//b/", Some(b"a/b")),
            (b"/etc/passwd", Some(b"etc/passwd")),
            (b"a/../b", Some(b"b")),
            (b".", Some(b"")),
            (b"/", Some(b"")),
            (b"a/..", Some(b"")),
            (b"..", None),
            (b"a/../../b", None),
            (b"/../etc", None),
            (b"", None),
            (&[b'a'; 5000], None),
        ];
        for (path, expected) in cases {
            let actual = components(path).ok().map(|parts| parts.join(&b'/'));
            assert_eq!(actual.as_deref(), expected, "{}", path.escape_ascii());
        }
    }
}

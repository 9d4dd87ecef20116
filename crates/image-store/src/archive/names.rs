//! Names inside an archive.

use super::ArchiveError;

/// A name in normal form: components joined by one slash, no `.`. Absolute names and `..` are refused: no tool that
/// writes image archives uses them, and they once were a way out (CVE-2026-20613).
pub(super) fn normalise(path: &[u8]) -> Result<Vec<u8>, ArchiveError> {
    let mut components = Vec::new();
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return Err(ArchiveError::Path { path: path.to_vec() }),
            name => components.push(name),
        }
    }
    if path.starts_with(b"/") {
        return Err(ArchiveError::Path { path: path.to_vec() });
    }
    Ok(components.join(&b'/'))
}

/// What a symbolic link at `path` leads to, within the archive. `docker save` linked equal layers so:
/// `<id>/layer.tar` to `../<other id>/layer.tar`.
pub(super) fn follow(path: &[u8], target: &[u8]) -> Result<Vec<u8>, ArchiveError> {
    let outside = || ArchiveError::Link { path: path.to_vec() };
    if target.starts_with(b"/") {
        return Err(outside());
    }
    let mut components: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    components.pop();
    for component in target.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => drop(components.pop().ok_or_else(outside)?),
            name => components.push(name),
        }
    }
    Ok(components.join(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_inside() {
        assert_eq!(normalise(b"./a//b/").unwrap(), b"a/b");
        for path in [&b"/a"[..], b"../a", b"a/../b"] {
            assert!(normalise(path).is_err());
        }
        assert_eq!(follow(b"a/layer.tar", b"../b/layer.tar").unwrap(), b"b/layer.tar");
        for target in [&b"../../x"[..], b"/etc/passwd"] {
            assert!(follow(b"a/layer.tar", target).is_err());
        }
    }
}

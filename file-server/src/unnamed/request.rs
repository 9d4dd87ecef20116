//! What a guest says of a file without a name that it wants: `struct fuse_create_in`, a name without meaning, and
//! extensions, as linux/fuse.h has them.

use std::io;

use virtiofsd::fuse::CreateIn;

/// linux/fuse.h, `FUSE_EXT_GROUPS`.
const GROUPS: u32 = 32;
/// The guest's kernel sends one, the directory's, if the program is in it.
const MAXIMUM_GROUPS: usize = 32;
/// More than a name and its groups take.
pub(crate) const MAXIMUM_BYTES: usize = 1024;

/// The request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Creation {
    pub(super) flags: u32,
    pub(super) mode: u32,
    pub(super) umask: u32,
    pub(super) groups: Vec<u32>,
}

impl Creation {
    /// `rest` is what follows.
    pub(crate) fn parse(fixed: &CreateIn, rest: &[u8]) -> io::Result<Self> {
        let CreateIn { flags, mode, umask, .. } = *fixed;
        let name = rest.iter().position(|byte| *byte == 0).ok_or_else(invalid)?;
        let groups = groups(&rest[name + 1..]).ok_or_else(invalid)?;
        Ok(Self { flags, mode, umask, groups })
    }
}

/// Of extensions that were not agreed upon there are none.
fn groups(mut rest: &[u8]) -> Option<Vec<u32>> {
    let mut groups = Vec::new();
    while !rest.is_empty() {
        let (size, kind) = (word(rest, 0)?, word(rest, 1)?);
        let (extension, behind) = rest.split_at_checked(usize::try_from(size).ok()?)?;
        let content = extension.get(8..).filter(|_| kind == GROUPS)?;
        let count = usize::try_from(word(content, 0)?).ok()?;
        if groups.len() + count > MAXIMUM_GROUPS {
            return None;
        }
        for index in 1..=count {
            groups.push(word(content, index)?);
        }
        rest = behind;
    }
    Some(groups)
}

fn word(bytes: &[u8], index: usize) -> Option<u32> {
    let bytes = bytes.get(index * 4..index * 4 + 4)?;
    bytes.try_into().ok().map(u32::from_ne_bytes)
}

fn invalid() -> io::Error {
    io::Error::from_raw_os_error(libc::EINVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[u32]) -> io::Result<Vec<u32>> {
        let mut rest = b"/\0".to_vec();
        rest.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        Ok(Creation::parse(&CreateIn { mode: 0o600, ..CreateIn::default() }, &rest)?.groups)
    }

    #[test]
    fn groups_follow_the_name() {
        assert_eq!(parse(&[]).unwrap(), [0; 0]);
        assert_eq!(parse(&[16, GROUPS, 1, 1234]).unwrap(), [1234]);
        assert_eq!(parse(&[24, GROUPS, 2, 1, 2, 0, 16, GROUPS, 1, 3]).unwrap(), [1, 2, 3]);
    }

    #[test]
    fn f83_nonsense_is_refused() {
        for words in [
            &[0, GROUPS, 0][..],
            &[7, GROUPS, 1, 1],
            &[8, GROUPS],
            &[16, GROUPS, 2, 1],
            &[16, GROUPS, u32::MAX, 1],
            &[17, GROUPS, 1, 1],
            &[u32::MAX, GROUPS, 1, 1],
            &[16, 1, 1, 1],
            &[16],
        ] {
            assert!(parse(words).is_err(), "{words:?}");
        }
        let many: Vec<u32> = [12 + 33 * 4, GROUPS, 33].into_iter().chain(0..33).collect();
        assert!(parse(&many).is_err());
        assert!(Creation::parse(&CreateIn::default(), b"").is_err(), "there is no name");
    }
}

//! What the helper tells.

use anyhow::{Result, bail};

/// Longest tag, virtio 1.2, section 5.11.4.
const MAXIMUM_TAG_BYTES: usize = 36;

/// How to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// By which the guest finds the device.
    pub(crate) tag: String,
    pub(crate) read_only: bool,
    /// The guest may believe for a second what it has seen.
    pub(crate) relaxed: bool,
    /// The helper gives ids to the server's user namespace.
    pub(crate) subordinate_ids: bool,
}

impl Arguments {
    /// `TAG [--read-only] [--relaxed] [--subordinate-ids]`
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let Some(tag) = words.next().filter(|tag| (1..=MAXIMUM_TAG_BYTES).contains(&tag.len())) else {
            bail!("the first argument is a tag of at most {MAXIMUM_TAG_BYTES} bytes");
        };
        let mut parsed = Self { tag, read_only: false, relaxed: false, subordinate_ids: false };
        for word in words {
            match word.as_str() {
                "--read-only" => parsed.read_only = true,
                "--relaxed" => parsed.relaxed = true,
                "--subordinate-ids" => parsed.subordinate_ids = true,
                _ => bail!("unknown argument '{}'", word.escape_default()),
            }
        }
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Option<Arguments> {
        Arguments::parse(words.iter().map(|word| (*word).to_owned())).ok()
    }

    #[test]
    fn arguments() {
        let expected =
            Arguments { tag: "folder0".to_owned(), read_only: true, relaxed: false, subordinate_ids: false };
        assert_eq!(parse(&["folder0", "--read-only"]), Some(expected));
        assert!(parse(&["folder0", "--relaxed"]).is_some_and(|arguments| arguments.relaxed));
        assert!(parse(&["folder0", "--subordinate-ids"]).is_some_and(|arguments| arguments.subordinate_ids));
        assert_eq!(parse(&[]), None);
        assert_eq!(parse(&["folder0", "-o"]), None);
        assert_eq!(parse(&[&"x".repeat(37)]), None);
    }
}

//! The daemon's own command line.

use anyhow::{Context, bail};

/// What the daemon was started with; everything else comes from the environment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// Inherited descriptor that gets one byte once requests are served.
    pub(crate) ready_descriptor: Option<i32>,
}

impl Arguments {
    pub(crate) fn parse(words: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut arguments = Self::default();
        let mut words = words;
        while let Some(word) = words.next() {
            let value = match word.split_once('=') {
                Some(("--ready-descriptor", value)) => value.to_owned(),
                None if word == "--ready-descriptor" => {
                    words.next().context("--ready-descriptor needs a number")?
                }
                _ => bail!("unknown argument '{}'", word.escape_default()),
            };
            let number: i32 = value.parse().context("--ready-descriptor needs a number")?;
            if number < 3 {
                bail!("--ready-descriptor must not be a standard stream");
            }
            arguments.ready_descriptor = Some(number);
        }
        Ok(arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> anyhow::Result<Arguments> {
        Arguments::parse(words.iter().map(|word| (*word).to_owned()))
    }

    #[test]
    fn both_spellings_are_understood() {
        assert_eq!(parse(&[]).unwrap().ready_descriptor, None);
        assert_eq!(parse(&["--ready-descriptor", "3"]).unwrap().ready_descriptor, Some(3));
        assert_eq!(parse(&["--ready-descriptor=4"]).unwrap().ready_descriptor, Some(4));
        assert!(parse(&["--ready-descriptor=1"]).is_err());
        assert!(parse(&["--help-me"]).is_err());
    }
}

//! Keys that let go of a container's terminal.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// More than anyone remembers.
const MAXIMUM_KEYS: usize = 16;

/// A sequence of keys as Docker writes it: `ctrl-p,ctrl-q`, each an ASCII character or `ctrl-` with a
/// letter or one of `@[\]^_`. Empty: nothing that is typed detaches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DetachKeys(Vec<u8>);

/// Not a sequence of keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "detach keys are at most {MAXIMUM_KEYS} characters or ctrl-<key>, separated by commas, such as ctrl-p,ctrl-q"
)]
pub struct InvalidDetachKeys;

impl DetachKeys {
    /// What a terminal in raw mode sends for them.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Default for DetachKeys {
    /// Docker's: Ctrl-P, Ctrl-Q.
    fn default() -> Self {
        Self(vec![control(b'p'), control(b'q')])
    }
}

/// ECMA-48: the control key clears bits 6 and 7.
fn control(key: u8) -> u8 {
    key & 0x1f
}

fn key(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [byte] if byte.is_ascii_graphic() || *byte == b' ' => Some(*byte),
        [b'c' | b'C', rest @ ..] => match rest.strip_prefix(b"trl-")? {
            [byte] if byte.is_ascii_alphabetic() || b"@[\\]^_".contains(byte) => Some(control(*byte)),
            _ => None,
        },
        _ => None,
    }
}

impl FromStr for DetachKeys {
    type Err = InvalidDetachKeys;

    fn from_str(text: &str) -> Result<Self, InvalidDetachKeys> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let keys: Option<Vec<u8>> = text.split(',').map(key).collect();
        keys.filter(|keys| keys.len() <= MAXIMUM_KEYS).map(Self).ok_or(InvalidDetachKeys)
    }
}

impl fmt::Display for DetachKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str(",")?;
            }
            if *byte < b' ' {
                write!(formatter, "ctrl-{}", char::from(byte | 0x40).to_ascii_lowercase())?;
            } else {
                write!(formatter, "{}", char::from(*byte))?;
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for DetachKeys {
    type Error = InvalidDetachKeys;

    fn try_from(text: String) -> Result<Self, InvalidDetachKeys> {
        text.parse()
    }
}

impl From<DetachKeys> for String {
    fn from(keys: DetachKeys) -> Self {
        keys.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f56_keys_are_what_a_terminal_sends() {
        let cases: [(&str, &[u8]); 7] = [
            ("ctrl-p,ctrl-q", &[16, 17]),
            ("ctrl-P", &[16]),
            ("a,b", b"ab"),
            ("ctrl-@,ctrl-[,ctrl-_", &[0, 27, 31]),
            ("ctrl-\\,x", &[28, b'x']),
            (" ", b" "),
            ("", b""),
        ];
        for (text, expected) in cases {
            let keys: DetachKeys = text.parse().unwrap();
            assert_eq!(keys.bytes(), expected, "{text}");
            assert_eq!(keys.to_string().parse::<DetachKeys>().unwrap(), keys, "{text}");
        }
        assert_eq!(DetachKeys::default().to_string(), "ctrl-p,ctrl-q");
        let long = vec!["a"; 17].join(",");
        for text in [",", "ab", "ctrl-", "ctrl-1", "ctrl-é", "é", "ctrl-p,", "\u{7f}", &long] {
            assert!(text.parse::<DetachKeys>().is_err(), "{text}");
        }
    }
}

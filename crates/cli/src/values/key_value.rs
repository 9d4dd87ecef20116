//! Labels, sysctls and options of volumes.

use std::str::FromStr;

use super::{InvalidValue, invalid};

/// `key` or `key=value`; a value contains no `=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) key: String,
    pub(crate) value: String,
}

impl FromStr for Label {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        if key.is_empty() || value.contains('=') {
            return invalid("expected key or key=value");
        }
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }
}

/// `key=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sysctl {
    pub(crate) key: String,
    pub(crate) value: String,
}

impl FromStr for Sysctl {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() && !key.contains("..") => {
                Ok(Self { key: key.to_owned(), value: value.to_owned() })
            }
            _ => invalid("expected key=value"),
        }
    }
}

/// Option of a volume: `key=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VolumeOption {
    pub(crate) key: String,
    pub(crate) value: String,
}

impl FromStr for VolumeOption {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() && !value.is_empty() => {
                Ok(Self { key: key.to_owned(), value: value.to_owned() })
            }
            _ => invalid("expected key=value"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        for (text, expected) in [
            ("a=b", Some(("a", "b"))),
            ("a", Some(("a", ""))),
            ("a=", Some(("a", ""))),
            ("a=b=c", None),
            ("=b", None),
            ("", None),
        ] {
            let parsed = text.parse::<Label>().ok();
            assert_eq!(parsed.as_ref().map(|label| (&*label.key, &*label.value)), expected, "{text:?}");
        }
    }

    #[test]
    fn sysctls() {
        assert!("net.core.somaxconn=128".parse::<Sysctl>().is_ok());
        for text in ["net.core.somaxconn", "=1", "net/../../x=1"] {
            assert!(text.parse::<Sysctl>().is_err(), "{text}");
        }
    }
}

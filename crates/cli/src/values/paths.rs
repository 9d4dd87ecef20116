//! Paths in the container.

use std::str::FromStr;

use super::{InvalidValue, invalid};

/// A path that means the same wherever it is looked up.
pub(crate) fn absolute(text: &str) -> Result<String, InvalidValue> {
    if !text.starts_with('/') {
        invalid(format!("'{text}' is not an absolute path"))
    } else if text.split('/').any(|part| part == "..") || text.contains('\0') {
        invalid(format!("'{text}' must not contain '..'"))
    } else {
        Ok(text.to_owned())
    }
}

/// Value of `--workdir`; an empty one is as good as none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WorkingDirectory(String);

impl WorkingDirectory {
    pub(crate) fn into_path(self) -> Option<String> {
        Some(self.0).filter(|path| !path.is_empty())
    }
}

impl FromStr for WorkingDirectory {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        if text.is_empty() || text.starts_with('/') {
            Ok(Self(text.to_owned()))
        } else {
            invalid(format!("'{text}' is not an absolute path"))
        }
    }
}

/// Value of `--masked-path` and `--read-only-path`: an absolute path, or `NONE` for an empty list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathOrNone(String);

impl PathOrNone {
    /// Stands for no path at all.
    pub(crate) const NONE: &str = "NONE";

    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

impl FromStr for PathOrNone {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        if text == Self::NONE { Ok(Self(text.to_owned())) } else { absolute(text).map(Self) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_working_directory_may_be_left_empty() {
        let path = |text: &str| text.parse::<WorkingDirectory>().map(WorkingDirectory::into_path);
        assert_eq!(path("").unwrap(), None);
        assert_eq!(path("/srv/..").unwrap().as_deref(), Some("/srv/.."));
        for text in ["srv", ".", " /srv"] {
            assert!(path(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_absolute_paths_and_none() {
        for text in ["/proc/x", "NONE", "/"] {
            assert!(text.parse::<PathOrNone>().is_ok(), "{text}");
        }
        for text in ["", "proc", "none", "/a/../b"] {
            assert!(text.parse::<PathOrNone>().is_err(), "{text}");
        }
    }
}

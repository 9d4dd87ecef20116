//! Names of containers.

use std::str::FromStr;

use super::{InvalidValue, invalid};

/// 2 to 63 characters, `^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContainerName(String);

impl ContainerName {
    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

impl FromStr for ContainerName {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if (2..=63).contains(&text.len())
            && text.as_bytes()[0].is_ascii_alphanumeric()
            && text.bytes().all(allowed)
        {
            Ok(Self(text.to_owned()))
        } else {
            invalid("a name has 2 to 63 letters, digits, '_', '.' or '-' and begins with a letter or digit")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f52_hostile_names_are_refused() {
        for name in ["web", "a1", "A.b_c-d", &"x".repeat(63)] {
            assert!(name.parse::<ContainerName>().is_ok(), "{name}");
        }
        let long = "x".repeat(64);
        for name in ["", "x", "..", "a/b", "-a", ".a", "_a", "a\nb", "é…", "\u{1b}[31mred", "a b", &long] {
            assert!(name.parse::<ContainerName>().is_err(), "{name:?}");
        }
    }
}

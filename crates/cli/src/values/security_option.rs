//! `--security-opt`

use std::str::FromStr;

use super::{InvalidValue, invalid};

const NO_NEW_PRIVILEGES: &str = "no-new-privileges";

/// The one option that means something in a machine of one's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SecurityOption {
    pub(crate) no_new_privileges: bool,
}

impl FromStr for SecurityOption {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let (name, value) = text.split_once(['=', ':']).unwrap_or((text, "true"));
        match (name, value) {
            (NO_NEW_PRIVILEGES, "true") => Ok(Self { no_new_privileges: true }),
            (NO_NEW_PRIVILEGES, "false") => Ok(Self { no_new_privileges: false }),
            _ => invalid("the only security option is no-new-privileges[=true|false]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_an_effect_is_taken() {
        let parse = |text: &str| text.parse::<SecurityOption>().ok().map(|option| option.no_new_privileges);
        assert_eq!(parse("no-new-privileges"), Some(true));
        assert_eq!(parse("no-new-privileges:true"), Some(true));
        assert_eq!(parse("no-new-privileges=false"), Some(false));
        for text in ["", "seccomp=unconfined", "no-new-privileges=maybe", "label=disable"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}

//! `--link`

use std::str::FromStr;

use crate::arguments::Elsewhere;

/// A container whose name is known on the network anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link;

impl FromStr for Link {
    type Err = Elsewhere;

    fn from_str(text: &str) -> Result<Self, Elsewhere> {
        match text.split_once(':') {
            None if !text.is_empty() => Ok(Self),
            Some((name, alias)) if !name.is_empty() && name == alias => Ok(Self),
            _ => Err(Elsewhere(
                "containers of one network find each other by name: give the other one a further name with \
                 --network-alias",
            )),
        }
    }
}

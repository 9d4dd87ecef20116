//! `--volumes-from container[:ro|rw]`

use std::str::FromStr;

use bulkhead_api::request::VolumesFrom;

use super::{InvalidValue, invalid};

/// A container whose volumes and folders are mounted as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VolumesFromContainer(pub(crate) VolumesFrom);

impl FromStr for VolumesFromContainer {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let (id, read_only) = match text.split_once(':') {
            None => (text, false),
            // Docker's default: as the other has it.
            Some((id, "rw")) => (id, false),
            Some((id, "ro")) => (id, true),
            Some((_, mode)) => return invalid(format!("unknown option '{mode}': expected ro or rw")),
        };
        match id {
            "" => invalid("the name of the container is empty"),
            _ => Ok(Self(VolumesFrom { id: id.to_owned(), read_only })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers() {
        let show = |text: &str| {
            text.parse::<VolumesFromContainer>()
                .ok()
                .map(|VolumesFromContainer(from)| (from.id, from.read_only))
        };
        for (text, expected) in [
            ("web", Some(("web", false))),
            ("web:rw", Some(("web", false))),
            ("web:ro", Some(("web", true))),
            ("", None),
            (":ro", None),
            ("web:x", None),
            ("web:ro:rw", None),
        ] {
            assert_eq!(show(text), expected.map(|(id, ro): (&str, bool)| (id.to_owned(), ro)), "{text:?}");
        }
    }
}

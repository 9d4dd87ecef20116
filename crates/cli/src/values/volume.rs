//! `--volume [source:]destination[:options]`

use std::str::FromStr;

use super::{InvalidValue, invalid, paths};

/// A folder of the host, a named or an anonymous volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VolumeMount {
    pub(crate) source: VolumeSource,
    pub(crate) destination: String,
    pub(crate) options: Vec<String>,
}

/// Where a volume comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum VolumeSource {
    /// A path: contains `/`, or is `.` or `..`.
    Host(String),
    /// A bare name.
    Named(String),
    /// One path only.
    Anonymous,
}

impl FromStr for VolumeMount {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let parts: Vec<&str> = text.split(':').collect();
        let (source, destination, options) = match parts[..] {
            [destination] => (VolumeSource::Anonymous, destination, ""),
            [source, destination] => (parse_source(source)?, destination, ""),
            [source, destination, options] => (parse_source(source)?, destination, options),
            _ => return invalid("expected [source:]destination[:options]"),
        };
        let options = options.split(',').filter(|option| !option.is_empty()).map(str::to_owned).collect();
        Ok(Self { source, destination: paths::absolute(destination)?, options })
    }
}

fn parse_source(text: &str) -> Result<VolumeSource, InvalidValue> {
    if text.is_empty() {
        invalid("the source is empty")
    } else if text.contains('/') || text == "." || text == ".." {
        Ok(VolumeSource::Host(text.to_owned()))
    } else {
        Ok(VolumeSource::Named(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes() {
        let source = |text: &str| text.parse::<VolumeMount>().ok().map(|volume| volume.source);
        assert_eq!(source("/data"), Some(VolumeSource::Anonymous));
        assert_eq!(source("name:/data"), Some(VolumeSource::Named("name".to_owned())));
        assert_eq!(source(".:/data"), Some(VolumeSource::Host(".".to_owned())));
        assert_eq!(source("a/b:/data:ro"), Some(VolumeSource::Host("a/b".to_owned())));
        for text in ["", "data", ":/data", "name:data", "a:/b:ro:x"] {
            assert_eq!(source(text), None, "{text:?}");
        }
        assert_eq!("a:/b:ro,z".parse::<VolumeMount>().unwrap().options, ["ro", "z"]);
    }
}

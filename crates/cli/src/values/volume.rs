//! `--volume [source:]destination[:options]`

use std::path::Path;
use std::str::FromStr;

use bulkhead_api::container::{Mount, MountKind};
use bulkhead_api::volume::is_valid_name;

use super::{InvalidValue, invalid, paths};
use crate::failure::Failure;

/// What Docker knows for hosts that are not like this one; nothing has to be done for them.
/// What Docker's users say of mounts within the source is so anyway.
const MEANINGLESS: [&str; 6] = ["z", "Z", "delegated", "consistent", "private", "rprivate"];
/// Options of the mount itself.
const OPTIONS: [&str; 10] =
    ["ro", "rw", "exec", "noexec", "suid", "nosuid", "nodev", "noatime", "nocopy", "cached"];

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
        let words = options.split(',').filter(|word| !word.is_empty() && !MEANINGLESS.contains(word));
        let options = words.map(parse_option).collect::<Result<_, _>>()?;
        Ok(Self { source, destination: paths::absolute(destination)?, options })
    }
}

impl VolumeMount {
    /// The mount; a relative path of the host becomes an absolute one by `absolute`.
    pub(crate) fn into_mount(
        self,
        absolute: impl FnOnce(&Path) -> Result<String, Failure>,
    ) -> Result<Mount, Failure> {
        let (kind, source) = match self.source {
            VolumeSource::Host(path) => (MountKind::Virtiofs {}, absolute(Path::new(&path))?),
            VolumeSource::Named(name) => (MountKind::volume(name), String::new()),
            VolumeSource::Anonymous => (MountKind::volume(""), String::new()),
        };
        Ok(Mount { kind, source, destination: self.destination, options: self.options })
    }
}

/// Name of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VolumeName(String);

impl VolumeName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for VolumeName {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        if is_valid_name(text) {
            Ok(Self(text.to_owned()))
        } else {
            invalid("a name has 1 to 255 letters, digits, '_', '.' or '-' and begins with a letter or digit")
        }
    }
}

/// Mounts of two kernels do not follow each other.
pub(super) const PROPAGATION: &str =
    "what this host mounts later within a folder is not seen by containers that run, nor the other way round";

fn parse_option(word: &str) -> Result<String, InvalidValue> {
    if ["shared", "rshared", "slave", "rslave"].contains(&word) {
        return invalid(PROPAGATION);
    }
    if OPTIONS.contains(&word) {
        Ok(word.to_owned())
    } else {
        invalid(format!("unknown option '{word}': known are {}", OPTIONS.join(", ")))
    }
}

fn parse_source(text: &str) -> Result<VolumeSource, InvalidValue> {
    if text.is_empty() {
        invalid("the source is empty")
    } else if text.contains('/') || text == "." || text == ".." {
        Ok(VolumeSource::Host(text.to_owned()))
    } else {
        text.parse().map(|VolumeName(name)| VolumeSource::Named(name))
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
        for text in ["", "data", ":/data", "name:data", "a:/b:ro:x", ".hidden:/b", "a:/b:sync"] {
            assert_eq!(source(text), None, "{text:?}");
        }
        assert_eq!("a:/b:ro,z".parse::<VolumeMount>().unwrap().options, ["ro"]);
    }
}

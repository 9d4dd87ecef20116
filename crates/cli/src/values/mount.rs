//! `--mount type=…,source=…,target=…`

use std::path::Path;
use std::str::FromStr;

use bulkhead_api::container::{Mount, MountKind};

use super::memory_size::MemorySize;
use super::volume::VolumeName;
use super::{InvalidValue, invalid, paths};
use crate::failure::Failure;

/// A mount as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MountSpecification {
    pub(crate) kind: MountType,
    pub(crate) source: String,
    pub(crate) destination: String,
    pub(crate) options: Vec<String>,
}

/// What is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MountType {
    /// A folder of the host, `bind` or `virtiofs`.
    Bind,
    /// Memory.
    Tmpfs,
    /// A volume.
    Volume,
}

impl MountSpecification {
    /// The mount; a relative path of the host becomes an absolute one by `absolute`.
    pub(crate) fn into_mount(
        self,
        absolute: impl FnOnce(&Path) -> Result<String, Failure>,
    ) -> Result<Mount, Failure> {
        let (kind, source) = match self.kind {
            MountType::Bind => (MountKind::Virtiofs {}, absolute(Path::new(&self.source))?),
            MountType::Tmpfs => (MountKind::Tmpfs {}, String::new()),
            MountType::Volume => (MountKind::volume(self.source), String::new()),
        };
        Ok(Mount { kind, source, destination: self.destination, options: self.options })
    }
}

impl FromStr for MountSpecification {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let (mut kind, mut source, mut destination) = (None, None, None);
        let (mut read_only, mut no_copy, mut size, mut mode) = (false, false, None, None);
        for part in text.split(',') {
            let (key, value) = part.split_once('=').map_or((part, None), |(key, value)| (key, Some(value)));
            match (key, value) {
                ("type", Some(value)) => set(&mut kind, key, parse_kind(value)?)?,
                ("source" | "src", Some(value)) => set(&mut source, key, value.to_owned())?,
                ("target" | "destination" | "dst", Some(value)) => {
                    set(&mut destination, key, paths::absolute(value)?)?;
                }
                ("ro" | "readonly", None | Some("true" | "1")) => read_only = true,
                ("ro" | "readonly", Some("false" | "0")) => read_only = false,
                ("volume-nocopy", None | Some("true" | "1")) => no_copy = true,
                ("volume-nocopy", Some("false" | "0")) => no_copy = false,
                ("size" | "tmpfs-size", Some(value)) => set(&mut size, key, value.parse::<MemorySize>()?)?,
                ("mode" | "tmpfs-mode", Some(value)) => set(&mut mode, key, parse_mode(value)?)?,
                // As it is anyway: nothing that the container mounts is seen on the host, nor the other way round.
                ("bind-propagation", Some("private" | "rprivate"))
                | ("consistency", Some("default" | "consistent" | "cached" | "delegated"))
                | ("bind-recursive", Some("enabled"))
                | ("bind-nonrecursive", Some("false" | "0"))
                | ("volume-driver", Some("local")) => {}
                ("bind-propagation", Some(_)) => return invalid(super::volume::PROPAGATION),
                ("volume-driver" | "volume-label" | "volume-opt", Some(_)) => {
                    return invalid("make such a volume first, with `container volume create`");
                }
                _ => return invalid(format!("unknown mount option '{part}'")),
            }
        }
        // Docker's default.
        let kind = kind.unwrap_or(MountType::Volume);
        let Some(destination) = destination else { return invalid("a mount needs a target") };
        if kind == MountType::Tmpfs {
            if source.is_some() {
                return invalid("a tmpfs mount has no source");
            }
        } else if size.is_some() || mode.is_some() {
            return invalid("size and mode are options of tmpfs mounts");
        }
        if no_copy && kind != MountType::Volume {
            return invalid("volume-nocopy is an option of volumes");
        }
        match (kind, source.as_deref()) {
            (MountType::Bind, None | Some("")) => return invalid("a bind mount needs a source"),
            (MountType::Volume, Some(name)) => drop(name.parse::<VolumeName>()?),
            _ => {}
        }
        let mut options = Vec::new();
        options.extend(read_only.then(|| "ro".to_owned()));
        options.extend(no_copy.then(|| "nocopy".to_owned()));
        options.extend(size.map(|size| format!("size={}", size.bytes())));
        options.extend(mode.map(|mode| format!("mode={mode:o}")));
        Ok(Self { kind, source: source.unwrap_or_default(), destination, options })
    }
}

fn set<T>(slot: &mut Option<T>, key: &str, value: T) -> Result<(), InvalidValue> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => invalid(format!("mount option '{key}' is given twice")),
    }
}

fn parse_kind(text: &str) -> Result<MountType, InvalidValue> {
    match text {
        "bind" | "virtiofs" => Ok(MountType::Bind),
        "tmpfs" => Ok(MountType::Tmpfs),
        "volume" => Ok(MountType::Volume),
        _ => invalid(format!("unknown mount type '{text}'")),
    }
}

/// Octal permission bits, without set-id.
pub(crate) fn parse_mode(text: &str) -> Result<u32, InvalidValue> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o1777 => Ok(mode),
        _ => invalid(format!("'{text}' is no octal mode of at most 1777")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts() {
        let tmpfs: MountSpecification = "type=tmpfs,dst=/a,tmpfs-size=1m,tmpfs-mode=1777,ro".parse().unwrap();
        assert_eq!(tmpfs, "type=tmpfs,dst=/a,size=1m,mode=1777,ro".parse().unwrap());
        assert_eq!(tmpfs.options, ["ro", "size=1048576", "mode=1777"]);
        assert_eq!(tmpfs.into_mount(|_| unreachable!()).unwrap().destination, "/a");
        let bind: MountSpecification = "type=bind,src=/x,target=/y,readonly".parse().unwrap();
        assert_eq!(
            (bind.kind, bind.source.as_str(), bind.options),
            (MountType::Bind, "/x", vec!["ro".to_owned()])
        );
        assert_eq!(
            "type=volume,source=v,destination=/y".parse::<MountSpecification>().unwrap().kind,
            MountType::Volume
        );
        let docker = "dst=/y,consistency=cached,bind-propagation=rprivate,volume-driver=local".parse();
        assert_eq!(docker, "type=volume,dst=/y".parse::<MountSpecification>());
        let bare: MountSpecification = "type=volume,dst=/y,volume-nocopy,ro".parse().unwrap();
        assert_eq!(bare.options, ["ro", "nocopy"]);
        let filled: MountSpecification = "type=volume,dst=/y,volume-nocopy=false".parse().unwrap();
        assert!(filled.options.is_empty());
        for text in [
            "",
            "src=/a",
            "type=volume,dst=/a,volume-opt=size=1g",
            "type=bind,src=/x,dst=/a,bind-propagation=rslave",
            "type=tmpfs,dst=/a,volume-nocopy",
            "type=volume,dst=/a,volume-nocopy=perhaps",
            "type=tmpfs",
            "type=nfs,dst=/a",
            "type=tmpfs,dst=relative",
            "type=tmpfs,dst=/a,dst=/b",
            "type=tmpfs,dst=/a,src=/b",
            "type=tmpfs,dst=/a,size=big",
            "type=tmpfs,dst=/a,mode=9",
            "type=tmpfs,dst=/a,mode=4777",
            "type=bind,src=/x,dst=/a,size=1m",
            "type=bind,dst=/a",
            "type=volume,src=a/b,dst=/a",
            "type=tmpfs,dst=/a,colour=red",
        ] {
            assert!(text.parse::<MountSpecification>().is_err(), "{text:?}");
        }
    }
}

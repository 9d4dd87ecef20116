//! `--tmpfs <path>[:<options>]`

use std::str::FromStr;

use bulkhead_api::container::{Mount, MountKind};
use bulkhead_api::size::parse_bytes;

use super::memory_size::MemorySize;
use super::mount::parse_mode;
use super::{InvalidValue, invalid, paths};

/// Of mount(8), but for what says how mounts belong together: this is always a new one.
const FLAGS: [&str; 22] = [
    "defaults",
    "ro",
    "rw",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "exec",
    "noexec",
    "sync",
    "async",
    "dirsync",
    "mand",
    "nomand",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
];

/// A memory mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TmpfsMount(Mount);

impl TmpfsMount {
    pub(crate) fn into_mount(self) -> Mount {
        self.0
    }
}

impl FromStr for TmpfsMount {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let (path, words) = text.split_once(':').unwrap_or((text, ""));
        let destination = paths::absolute(path)?;
        let options =
            words.split(',').filter(|word| !word.is_empty()).map(option).collect::<Result<_, _>>()?;
        Ok(Self(Mount { kind: MountKind::Tmpfs {}, source: String::new(), destination, options }))
    }
}

/// In the words of tmpfs(5), as the guest's kernel takes them.
fn option(word: &str) -> Result<String, InvalidValue> {
    match word.split_once('=') {
        Some(("size", size)) => Ok(format!("size={}", parse_size(size)?)),
        Some(("mode", mode)) => Ok(format!("mode={:o}", parse_mode(mode)?)),
        Some((key @ ("uid" | "gid"), id)) => Ok(format!("{key}={}", parse_id(id)?)),
        Some((key @ ("nr_inodes" | "nr_blocks"), count)) => Ok(format!("{key}={}", parse_count(count)?)),
        None if FLAGS.contains(&word) => Ok(word.to_owned()),
        _ => invalid(format!("unknown tmpfs option '{word}'")),
    }
}

/// Bytes, or a part of the machine's memory, which only the guest knows.
fn parse_size(text: &str) -> Result<String, InvalidValue> {
    match text.strip_suffix('%') {
        None => Ok(text.parse::<MemorySize>()?.bytes().to_string()),
        Some(percent) => match percent.parse::<u16>() {
            Ok(1..) => Ok(text.to_owned()),
            _ => invalid(format!("'{text}' is no part of the memory: expected a number from 1% on")),
        },
    }
}

/// The highest number means "nobody" to the kernel (user_namespaces(7)).
fn parse_id(text: &str) -> Result<u32, InvalidValue> {
    match text.parse() {
        Ok(id) if id < u32::MAX => Ok(id),
        _ => invalid(format!("'{text}' is no numeric id")),
    }
}

/// 0 means as many as there is room for.
fn parse_count(text: &str) -> Result<u64, InvalidValue> {
    let message = || format!("'{text}' is no count: expected a number with optional suffix K, M or G");
    parse_bytes(text).map_or_else(|| invalid(message()), Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_mounts() {
        let options = |text: &str| text.parse::<TmpfsMount>().unwrap().into_mount().options;
        assert!(options("/run").is_empty());
        assert_eq!(options("/run:size=64m,mode=700,ro"), ["size=67108864", "mode=700", "ro"]);
        let owned = "/t:uid=1000,gid=1000,size=50%,nr_inodes=10k,nr_blocks=0,noatime,suid,dev,exec,sync";
        assert_eq!(
            options(owned).join(","),
            "uid=1000,gid=1000,size=50%,nr_inodes=10240,nr_blocks=0,noatime,suid,dev,exec,sync"
        );
        for text in [
            "",
            "run",
            "/run:size=x",
            "/run:size=0%",
            "/run:size=%",
            "/run:uid=root",
            "/run:gid=4294967295",
            "/run:nr_inodes=-1",
            "/run:mpol=local",
            "/run:noatime=1",
            "/run:bind",
            "/a/../b",
        ] {
            assert!(text.parse::<TmpfsMount>().is_err(), "{text:?}");
        }
    }
}

//! `--tmpfs <path>[:<options>]`

use std::str::FromStr;

use bulkhead_api::container::{Mount, MountKind};

use super::memory_size::MemorySize;
use super::mount::parse_mode;
use super::{InvalidValue, invalid, paths};

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
        let options = words
            .split(',')
            .filter(|word| !word.is_empty())
            .map(|word| match word.split_once('=') {
                Some(("size", size)) => Ok(format!("size={}", size.parse::<MemorySize>()?.bytes())),
                Some(("mode", mode)) => Ok(format!("mode={:o}", parse_mode(mode)?)),
                None if matches!(word, "ro" | "rw" | "noexec" | "exec" | "nosuid" | "nodev") => {
                    Ok(word.to_owned())
                }
                _ => invalid(format!("unknown tmpfs option '{word}'")),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self(Mount { kind: MountKind::Tmpfs {}, source: String::new(), destination, options }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_mounts() {
        let options = |text: &str| text.parse::<TmpfsMount>().unwrap().into_mount().options;
        assert!(options("/run").is_empty());
        assert_eq!(options("/run:size=64m,mode=700,ro"), ["size=67108864", "mode=700", "ro"]);
        for text in ["", "run", "/run:size=x", "/run:uid=0", "/a/../b"] {
            assert!(text.parse::<TmpfsMount>().is_err(), "{text:?}");
        }
    }
}

//! Mount options in the words of mount(8).

use rustix::mount::MountAttrFlags;
use thiserror::Error;

/// An option that makes no sense.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("mount option {option:?} contains a NUL byte")]
pub(crate) struct OptionError {
    option: String,
}

/// Options sorted by who takes them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MountOptions {
    /// Of the mount itself.
    pub(crate) attributes: MountAttrFlags,
    /// `MS_*` propagation for mount_setattr(2).
    pub(crate) propagation: Option<u64>,
    /// Only a bind mount; the file system is not asked.
    pub(crate) bind: bool,
    /// The bind covers the mounts below its source.
    pub(crate) recursive: bool,
    /// Keys, and values where there are any, for the file system.
    pub(crate) file_system: Vec<(String, Option<String>)>,
}

impl MountOptions {
    /// Sorts a list of options; a later one overrides an earlier one.
    pub(crate) fn parse(options: &[String]) -> Result<Self, OptionError> {
        let mut parsed = Self {
            attributes: MountAttrFlags::empty(),
            propagation: None,
            bind: false,
            recursive: false,
            file_system: Vec::new(),
        };
        for option in options.iter().flat_map(|option| option.split(',')) {
            parsed.add(option)?;
        }
        // The file system must know too: ext4 would write its superblock on a read-only mount.
        if parsed.attributes.contains(MountAttrFlags::MOUNT_ATTR_RDONLY) {
            parsed.file_system.push(("ro".to_owned(), None));
        }
        Ok(parsed)
    }

    fn add(&mut self, option: &str) -> Result<(), OptionError> {
        if option.contains('\0') {
            return Err(OptionError { option: option.to_owned() });
        }
        let access_time = MountAttrFlags::MOUNT_ATTR_NOATIME | MountAttrFlags::MOUNT_ATTR_STRICTATIME;
        match option {
            "" | "defaults" | "loud" => {}
            "ro" => self.attributes.insert(MountAttrFlags::MOUNT_ATTR_RDONLY),
            "rw" => self.attributes.remove(MountAttrFlags::MOUNT_ATTR_RDONLY),
            "nosuid" => self.attributes.insert(MountAttrFlags::MOUNT_ATTR_NOSUID),
            "suid" => self.attributes.remove(MountAttrFlags::MOUNT_ATTR_NOSUID),
            "nodev" => self.attributes.insert(MountAttrFlags::MOUNT_ATTR_NODEV),
            "dev" => self.attributes.remove(MountAttrFlags::MOUNT_ATTR_NODEV),
            "noexec" => self.attributes.insert(MountAttrFlags::MOUNT_ATTR_NOEXEC),
            "exec" => self.attributes.remove(MountAttrFlags::MOUNT_ATTR_NOEXEC),
            "nodiratime" => self.attributes.insert(MountAttrFlags::MOUNT_ATTR_NODIRATIME),
            "diratime" => self.attributes.remove(MountAttrFlags::MOUNT_ATTR_NODIRATIME),
            "nosymfollow" => self.attributes.insert(MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW),
            "noatime" => {
                self.attributes.remove(access_time);
                self.attributes.insert(MountAttrFlags::MOUNT_ATTR_NOATIME);
            }
            "strictatime" => {
                self.attributes.remove(access_time);
                self.attributes.insert(MountAttrFlags::MOUNT_ATTR_STRICTATIME);
            }
            // What is neither of the others is relative, also by this name.
            "relatime" | "norelatime" | "atime" => self.attributes.remove(access_time),
            "nostrictatime" => self.attributes.remove(MountAttrFlags::MOUNT_ATTR_STRICTATIME),
            "bind" => self.bind = true,
            "rbind" => {
                self.bind = true;
                self.recursive = true;
            }
            "private" | "rprivate" => self.propagation = Some(libc::MS_PRIVATE),
            "shared" | "rshared" => self.propagation = Some(libc::MS_SHARED),
            "slave" | "rslave" => self.propagation = Some(libc::MS_SLAVE),
            "unbindable" | "runbindable" => self.propagation = Some(libc::MS_UNBINDABLE),
            _ => self.file_system.push(match option.split_once('=') {
                Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                None => (option.to_owned(), None),
            }),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[&str]) -> MountOptions {
        MountOptions::parse(&options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn options_reach_who_takes_them() {
        let options = parse(&["nosuid,nodev", "ro", "size=64m", "lazytime"]);
        assert_eq!(
            options.attributes,
            MountAttrFlags::MOUNT_ATTR_NOSUID
                | MountAttrFlags::MOUNT_ATTR_NODEV
                | MountAttrFlags::MOUNT_ATTR_RDONLY
        );
        let expected = [
            ("size".to_owned(), Some("64m".to_owned())),
            ("lazytime".to_owned(), None),
            ("ro".to_owned(), None),
        ];
        assert_eq!(options.file_system, expected);
        assert!(!options.bind);
    }

    #[test]
    fn the_last_word_counts() {
        assert_eq!(parse(&["ro", "rw", "noexec", "exec"]).attributes, MountAttrFlags::empty());
        assert_eq!(parse(&["noatime", "strictatime"]).attributes, MountAttrFlags::MOUNT_ATTR_STRICTATIME);
        assert_eq!(parse(&["strictatime", "relatime"]).attributes, MountAttrFlags::empty());
        assert_eq!(parse(&["strictatime", "nostrictatime"]).attributes, MountAttrFlags::empty());
        let options = parse(&["noatime", "nostrictatime", "norelatime"]);
        assert_eq!((options.attributes, options.file_system), (MountAttrFlags::empty(), Vec::new()));
    }

    #[test]
    fn binds_are_recognised() {
        let options = parse(&["rbind", "rprivate"]);
        assert!(options.bind && options.recursive);
        assert_eq!(options.propagation, Some(libc::MS_PRIVATE));
        assert_eq!(parse(&["mode=0=1"]).file_system, [("mode".to_owned(), Some("0=1".to_owned()))]);
    }

    #[test]
    fn nul_is_refused() {
        assert!(MountOptions::parse(&["a\0b".to_owned()]).is_err());
    }
}

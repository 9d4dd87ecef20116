//! Who a process runs as: the rules of Docker's and runc's user specification over the image's own
//! /etc/passwd and /etc/group, both hostile files.

use rustix::fs::{FileType, OFlags, fstat};
use rustix::io::Errno;
use thiserror::Error;

use crate::mount_points;

/// No real passwd file is near this size.
const MAXIMUM_FILE_BYTES: u64 = 1024 * 1024;
/// Ids above it have meanings of their own in kernel interfaces; runc refuses them as well.
const MAXIMUM_ID: u32 = i32::MAX as u32;

/// /dev/null, Documentation/admin-guide/devices.txt.
const NULL_DEVICE: u64 = libc::makedev(1, 3);

/// The specification names nobody.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum UserError {
    #[error("unable to find user {name}: no matching entries in passwd file")]
    NoUser { name: String },
    #[error("unable to find group {name}: no matching entries in group file")]
    NoGroup { name: String },
    #[error("uids and gids must be in range 0-{MAXIMUM_ID}, not {id}")]
    Range { id: String },
    #[error("cannot read {path}")]
    Read {
        path: &'static str,
        #[source]
        source: Errno,
    },
    #[error("{path} is no regular file of at most 1 MiB")]
    Refused { path: &'static str },
}

/// Ids of a process.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) user_id: u32,
    pub(crate) group_id: u32,
    /// From the group file; without those that the host adds by number.
    pub(crate) supplementary_group_ids: Vec<u32>,
    pub(crate) home: Vec<u8>,
}

/// Resolves against the files of the container, whose root must be the caller's. `further_groups` are
/// names.
pub(crate) fn resolve(specification: &str, further_groups: &[String]) -> Result<Identity, UserError> {
    // Whoever has made these files unreadable is helped by root, who needs neither.
    let or_nothing = |content: Result<Vec<u8>, UserError>| match content {
        Err(_) if matches!(specification, "" | "0" | "0:0") => Ok(Vec::new()),
        content => content,
    };
    let passwd = or_nothing(read("/etc/passwd"))?;
    let group = or_nothing(read("/etc/group"))?;
    let mut identity = resolve_in(specification, &passwd, &group)?;
    for name in further_groups {
        let entry = group_entries(&group).find(|entry| entry.name == name.as_bytes());
        let entry = entry.ok_or_else(|| UserError::NoGroup { name: name.clone() })?;
        identity.supplementary_group_ids.push(entry.group_id);
    }
    Ok(identity)
}

/// Pure part of [`resolve`].
fn resolve_in(specification: &str, passwd: &[u8], group: &[u8]) -> Result<Identity, UserError> {
    let (user, group_name) = specification.split_once(':').unwrap_or((specification, ""));
    let wanted_id = if user.is_empty() { Some(0) } else { parse_id(user)? };
    let entry = passwd_entries(passwd).find(|entry| match wanted_id {
        Some(id) => entry.user_id == id,
        None => entry.name == user.as_bytes(),
    });
    let mut identity = Identity {
        user_id: wanted_id.unwrap_or(0),
        group_id: 0,
        supplementary_group_ids: Vec::new(),
        home: b"/".to_vec(),
    };
    let mut matched_name: &[u8] = b"";
    match entry {
        Some(entry) => {
            identity.user_id = entry.user_id;
            identity.group_id = entry.group_id;
            if !entry.home.is_empty() {
                identity.home = entry.home.to_vec();
            }
            matched_name = entry.name;
        }
        None if wanted_id.is_none() => return Err(UserError::NoUser { name: user.to_owned() }),
        None => {}
    }
    if !group_name.is_empty() {
        let wanted_id = parse_id(group_name)?;
        let entry = group_entries(group).find(|entry| match wanted_id {
            Some(id) => entry.group_id == id,
            None => entry.name == group_name.as_bytes(),
        });
        identity.group_id = entry
            .map(|entry| entry.group_id)
            .or(wanted_id)
            .ok_or_else(|| UserError::NoGroup { name: group_name.to_owned() })?;
    } else if !matched_name.is_empty() {
        identity.supplementary_group_ids = group_entries(group)
            .filter(|entry| entry.members.split(|byte| *byte == b',').any(|member| member == matched_name))
            .map(|entry| entry.group_id)
            .collect();
    }
    Ok(identity)
}

/// A number is always an id, even where a name consists of digits.
fn parse_id(text: &str) -> Result<Option<u32>, UserError> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(id) if id <= MAXIMUM_ID => Ok(Some(id)),
        _ => Err(UserError::Range { id: text.to_owned() }),
    }
}

struct PasswdEntry<'a> {
    name: &'a [u8],
    user_id: u32,
    group_id: u32,
    home: &'a [u8],
}

struct GroupEntry<'a> {
    name: &'a [u8],
    group_id: u32,
    members: &'a [u8],
}

/// Entries of passwd(5) with usable ids; broken lines are skipped as libc does.
fn passwd_entries(file: &[u8]) -> impl Iterator<Item = PasswdEntry<'_>> {
    lines(file).filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next()?;
        let user_id = id_field(fields.nth(1)?)?;
        let group_id = id_field(fields.next()?)?;
        let home = fields.nth(1).unwrap_or_default();
        Some(PasswdEntry { name, user_id, group_id, home })
    })
}

/// Entries of group(5).
fn group_entries(file: &[u8]) -> impl Iterator<Item = GroupEntry<'_>> {
    lines(file).filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next()?;
        let group_id = id_field(fields.nth(1)?)?;
        Some(GroupEntry { name, group_id, members: fields.next().unwrap_or_default() })
    })
}

fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    file.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty())
}

fn id_field(field: &[u8]) -> Option<u32> {
    std::str::from_utf8(field).ok()?.parse().ok().filter(|id| *id <= MAXIMUM_ID)
}

/// Reads a file that may be a fifo, a device or of any size; missing is empty.
fn read(path: &'static str) -> Result<Vec<u8>, UserError> {
    let refused = |source| UserError::Read { path, source };
    let file =
        match mount_points::open_with(path.as_bytes(), OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Vec::new()),
            Err(source) => return Err(refused(source)),
        };
    let status = fstat(&file).map_err(refused)?;
    let kind = FileType::from_raw_mode(status.st_mode);
    if kind == FileType::CharacterDevice && status.st_rdev == NULL_DEVICE {
        // A masked path.
        return Ok(Vec::new());
    }
    let size_bytes = u64::try_from(status.st_size).unwrap_or(u64::MAX);
    if kind != FileType::RegularFile || size_bytes > MAXIMUM_FILE_BYTES {
        return Err(UserError::Refused { path });
    }
    let mut contents = vec![0; usize::try_from(size_bytes).unwrap_or(0)];
    let mut filled = 0;
    while let Some(rest) = contents.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match rustix::io::read(&file, rest).map_err(refused)? {
            0 => break,
            count => filled += count,
        }
    }
    contents.truncate(filled);
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\nbroken\n:x:1\nwww:x:33:34::/var/www:/bin/false\n\
        1000:x:5:5::/five:\nhuge:x:4294967295:0::/:/\n";
    const GROUP: &[u8] = b"root:x:0:root\nwheel:x:10:root,www\nweb:x:34:\nlogs:x:4:www,wwwx\n";

    fn ids(specification: &str) -> Result<(u32, u32, Vec<u32>, String), UserError> {
        let identity = resolve_in(specification, PASSWD, GROUP)?;
        let home = String::from_utf8(identity.home).unwrap();
        Ok((identity.user_id, identity.group_id, identity.supplementary_group_ids, home))
    }

    #[test]
    fn names_and_numbers_follow_runc() {
        assert_eq!(ids(""), Ok((0, 0, vec![0, 10], "/root".into())));
        assert_eq!(ids("www"), Ok((33, 34, vec![10, 4], "/var/www".into())));
        assert_eq!(ids("33"), Ok((33, 34, vec![10, 4], "/var/www".into())));
        assert_eq!(ids("www:wheel"), Ok((33, 10, vec![], "/var/www".into())));
        assert_eq!(ids("www:77"), Ok((33, 77, vec![], "/var/www".into())));
        assert_eq!(ids("1000"), Ok((1000, 0, vec![], "/".into())));
        assert_eq!(ids("1234:5678"), Ok((1234, 5678, vec![], "/".into())));
        assert_eq!(ids(":web"), Ok((0, 34, vec![], "/root".into())));
    }

    #[test]
    fn nobody_is_an_error() {
        assert_eq!(ids("nobody"), Err(UserError::NoUser { name: "nobody".into() }));
        assert_eq!(ids("0:nogroup"), Err(UserError::NoGroup { name: "nogroup".into() }));
        assert_eq!(ids("../../etc"), Err(UserError::NoUser { name: "../../etc".into() }));
        assert_eq!(ids("huge"), Err(UserError::NoUser { name: "huge".into() }));
        for id in ["4294967295", "-1", "2147483648", "99999999999999999999", "0:4294967295"] {
            assert!(matches!(ids(id), Err(UserError::Range { .. })), "{id}");
        }
    }

    #[test]
    fn images_without_the_files_have_root_and_numbers() {
        let identity = resolve_in("", b"", b"").unwrap();
        assert_eq!((identity.user_id, identity.group_id, identity.home), (0, 0, b"/".to_vec()));
        assert!(resolve_in("5:6", b"", b"").is_ok());
        assert!(resolve_in("root", b"", b"").is_err());
    }

    #[test]
    fn any_bytes_are_survived() {
        let noise: Vec<u8> = (0..=255).cycle().take(4096).collect();
        assert!(resolve_in("1:2", &noise, &noise).is_ok());
    }
}

//! Events as fanotify(7) writes them.

use super::identity::Identity;

/// Of linux/fanotify.h, in `struct fanotify_event_info_header`.
mod kind {
    pub(super) const FILE: u8 = 1;
    pub(super) const NAME: u8 = 2;
    pub(super) const OLD_NAME: u8 = 10;
    pub(super) const NEW_NAME: u8 = 12;
}

/// `struct fanotify_event_metadata`, `struct fanotify_event_info_header`, `__kernel_fsid_t`, `struct file_handle`.
const METADATA_BYTES: usize = 24;
const INFORMATION_BYTES: usize = 4;
const SYSTEM_BYTES: usize = 8;
const HANDLE_BYTES: usize = 8;

const RENAME: u64 = libc::FAN_RENAME;

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place<'a> {
    pub(super) directory: Identity,
    pub(super) name: &'a [u8],
}

/// What somebody else did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change<'a> {
    /// More than there was room for.
    Lost,
    /// A file was moved; of the ends one may be in a directory that is not watched.
    Renamed { from: Option<Place<'a>>, to: Option<Place<'a>>, is_directory: bool },
    /// Of a file in a directory, a file itself, or both.
    Changed { place: Option<Place<'a>>, file: Option<Identity>, mask: u32 },
}

/// What `own` did itself is left out.
pub(super) fn parse(bytes: &[u8], own: i32) -> impl Iterator<Item = Change<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        loop {
            let length = usize::try_from(u32::from_ne_bytes(array(rest, 0)?)).ok()?;
            let event = rest.get(..length).filter(|event| event.len() >= METADATA_BYTES)?;
            rest = rest.get(length..)?;
            if let Some(change) = change(event, own) {
                return Some(change);
            }
        }
    })
}

fn change(event: &[u8], own: i32) -> Option<Change<'_>> {
    let mask = u64::from_ne_bytes(array(event, 8)?);
    if mask & libc::FAN_Q_OVERFLOW != 0 {
        return Some(Change::Lost);
    }
    if i32::from_ne_bytes(array(event, 20)?) == own {
        return None;
    }
    let (mut place, mut file, mut from, mut to) = (None, None, None, None);
    let mut rest = event.get(usize::from(u16::from_ne_bytes(array(event, 6)?))..)?;
    while let [kind, _, ..] = *rest {
        let length = usize::from(u16::from_ne_bytes(array(rest, 2)?));
        let information = rest.get(..length).filter(|information| !information.is_empty())?;
        rest = rest.get(length..)?;
        match kind {
            kind::FILE => file = self::place(information).map(|place| place.directory),
            kind::NAME => place = self::place(information),
            kind::OLD_NAME => from = self::place(information),
            kind::NEW_NAME => to = self::place(information),
            _ => {}
        }
    }
    let is_directory = mask & u64::from(super::mask::IS_DIRECTORY) != 0;
    if mask & RENAME != 0 {
        return Some(Change::Renamed { from, to, is_directory });
    }
    // A directory itself.
    if place.as_ref().is_some_and(|place| place.name == b".") {
        file = place.take().map(|place| place.directory);
    }
    Some(Change::Changed { place, file, mask: u32::try_from(mask).ok()? })
}

/// A handle, and the name behind it, which ends with a null.
fn place(information: &[u8]) -> Option<Place<'_>> {
    let body = information.get(INFORMATION_BYTES..)?;
    let system = array(body, 0)?;
    let length = usize::try_from(u32::from_ne_bytes(array(body, SYSTEM_BYTES)?)).ok()?;
    let kind = i32::from_ne_bytes(array(body, SYSTEM_BYTES + 4)?);
    let rest = body.get(SYSTEM_BYTES + HANDLE_BYTES..)?;
    let directory = Identity::new(&system, kind, rest.get(..length)?);
    let name = rest.get(length..)?.split(|byte| *byte == 0).next().unwrap_or_default();
    Some(Place { directory, name })
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn information(kind: u8, handle: &[u8], name: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind, 0, 0, 0];
        bytes.extend([7; SYSTEM_BYTES]);
        bytes.extend(u32::try_from(handle.len()).unwrap().to_ne_bytes());
        bytes.extend(1_i32.to_ne_bytes());
        bytes.extend(handle);
        bytes.extend(name);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        let length = u16::try_from(bytes.len()).unwrap().to_ne_bytes();
        bytes[2..4].copy_from_slice(&length);
        bytes
    }

    fn event(mask: u64, pid: i32, information: &[u8]) -> Vec<u8> {
        let length = u32::try_from(METADATA_BYTES + information.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend([3, 0]);
        bytes.extend(u16::try_from(METADATA_BYTES).unwrap().to_ne_bytes());
        bytes.extend(mask.to_ne_bytes());
        bytes.extend((-1_i32).to_ne_bytes());
        bytes.extend(pid.to_ne_bytes());
        bytes.extend(information);
        bytes
    }

    fn identity(handle: &[u8]) -> Identity {
        Identity::new(&[7; SYSTEM_BYTES], 1, handle)
    }

    #[test]
    fn what_others_did_is_told_and_what_we_did_is_not() {
        let name = information(kind::NAME, b"directory", b"name\0");
        let file = information(kind::FILE, b"file", b"");
        let both = [name.clone(), file].concat();
        let renamed =
            [information(kind::OLD_NAME, b"a", b"old\0"), information(kind::NEW_NAME, b"b", b"new\0")]
                .concat();
        let bytes = [
            event(2, 77, &name),
            event(2, 0, &both),
            event(0x4000_0004, 0, &information(kind::NAME, b"directory", b".\0")),
            event(RENAME, 0, &renamed),
            event(libc::FAN_Q_OVERFLOW, 0, &[]),
        ]
        .concat();
        let told: Vec<Change<'_>> = parse(&bytes, 77).collect();
        let place = |directory: &'static [u8], name: &'static [u8]| {
            Some(Place { directory: identity(directory), name })
        };
        let expected = [
            Change::Changed { place: place(b"directory", b"name"), file: Some(identity(b"file")), mask: 2 },
            Change::Changed { place: None, file: Some(identity(b"directory")), mask: 0x4000_0004 },
            Change::Renamed { from: place(b"a", b"old"), to: place(b"b", b"new"), is_directory: false },
            Change::Lost,
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn bytes_that_end_early_are_survived() {
        let whole = event(2, 0, &information(kind::NAME, b"directory", b"name\0"));
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length], 77).count(), 0, "{length}");
        }
        assert_eq!(parse(&whole, 77).count(), 1);
    }
}

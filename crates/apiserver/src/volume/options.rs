//! What `volume create` can be told.

use std::collections::BTreeMap;

use bulkhead_api::error::ApiError;

use bulkhead_api::size::parse_bytes;

use crate::error::invalid;

/// Sparse: what is not written costs nothing.
pub(super) const DEFAULT_BYTES: u64 = 512 << 30;
const MINIMUM_BYTES: u64 = 1 << 20;
/// The largest file of ext4, on which most hosts keep the disk.
const MAXIMUM_BYTES: u64 = 16 << 40;
const BLOCK_BYTES: u64 = 4096;
const TYPE: &str = "type";
const SHARED: &str = "shared";

/// Parsed options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct VolumeOptions {
    pub(super) size_bytes: u64,
    pub(super) journal_bytes: Option<u64>,
    /// A folder of the host in place of a disk.
    pub(super) shared: bool,
}

impl VolumeOptions {
    pub(super) fn parse(options: &BTreeMap<String, String>) -> Result<Self, ApiError> {
        let mut parsed = Self { size_bytes: DEFAULT_BYTES, journal_bytes: None, shared: is_shared(options) };
        for (key, value) in options {
            match key.as_str() {
                "size" => parsed.size_bytes = size(value)?,
                "journal" => parsed.journal_bytes = journal(value)?,
                TYPE if value == SHARED || value == "disk" => {}
                TYPE => {
                    let shown = value.escape_default();
                    return Err(invalid(format!("a volume's type is disk or shared, not '{shown}'")));
                }
                _ => {
                    let key = key.escape_default();
                    return Err(invalid(format!("unknown volume option '{key}'")).with_hint(
                        "Known are size=SIZE, journal=ordered|writeback|journal[:SIZE] and type=disk|shared.",
                    ));
                }
            }
        }
        if parsed.shared
            && let Some(key) = ["size", "journal"].into_iter().find(|key| options.contains_key(*key))
        {
            return Err(invalid(format!("a shared volume has no {key}: it is a folder of the host")));
        }
        Ok(parsed)
    }
}

fn size(text: &str) -> Result<u64, ApiError> {
    let shown = text.escape_default();
    let bytes = parse_bytes(text).ok_or_else(|| invalid(format!("'{shown}' is no size of a volume")))?;
    if bytes < MINIMUM_BYTES {
        return Err(invalid(format!("a volume has at least 1 MiB, not '{shown}'")));
    }
    // The kernel sees whole blocks.
    match bytes.checked_next_multiple_of(BLOCK_BYTES) {
        Some(bytes) if bytes <= MAXIMUM_BYTES => Ok(bytes),
        _ => Err(invalid(format!("a volume has at most 16 TiB, not '{shown}'"))),
    }
}

fn journal(text: &str) -> Result<Option<u64>, ApiError> {
    let (mode, size) = text.split_once(':').map_or((text, None), |(mode, size)| (mode, Some(size)));
    if !matches!(mode, "ordered" | "writeback" | "journal") {
        let shown = mode.escape_default();
        return Err(invalid(format!("a volume's journal is ordered, writeback or journal, not '{shown}'")));
    }
    match size.map(|size| (size, parse_bytes(size))) {
        None => Ok(None),
        Some((_, Some(bytes @ 1..))) => Ok(Some(bytes)),
        Some((size, _)) => Err(invalid(format!("'{}' is no size of a journal", size.escape_default()))),
    }
}

/// Whether several machines may have it at a time.
pub(super) fn is_shared(options: &BTreeMap<String, String>) -> bool {
    options.get(TYPE).is_some_and(|kind| kind == SHARED)
}

/// The option of ext4 for a volume's journal, if it was asked for one.
pub(super) fn mount_option(options: &BTreeMap<String, String>) -> Option<String> {
    let journal = options.get("journal")?;
    Some(format!("data={}", journal.split(':').next().unwrap_or(journal)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<VolumeOptions, ApiError> {
        VolumeOptions::parse(&pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect())
    }

    #[test]
    fn options() {
        assert_eq!(parse(&[]).unwrap().size_bytes, 512 << 30);
        let options = parse(&[("size", "10G"), ("journal", "writeback:64m")]).unwrap();
        assert_eq!(
            options,
            VolumeOptions { size_bytes: 10 << 30, journal_bytes: Some(64 << 20), shared: false }
        );
        assert!(parse(&[("type", "shared")]).unwrap().shared);
        assert!(!parse(&[("type", "disk"), ("size", "10G")]).unwrap().shared);
        assert!(parse(&[("type", "shared"), ("size", "10G")]).is_err());
        assert_eq!(parse(&[("size", "1048577")]).unwrap().size_bytes, (1 << 20) + 4096);
        for (key, value) in [
            ("size", "1023k"),
            ("size", "17T"),
            ("size", "big"),
            ("size", ""),
            ("journal", "none"),
            ("journal", "ordered:x"),
            ("journal", "ordered:0"),
            ("colour", "red"),
            ("type", "nfs"),
        ] {
            assert!(parse(&[(key, value)]).is_err(), "{key}={value}");
        }
    }

    #[test]
    fn the_journal_is_a_mount_option() {
        let options = |journal: &str| BTreeMap::from([("journal".to_owned(), journal.to_owned())]);
        assert_eq!(mount_option(&options("journal:8m")).as_deref(), Some("data=journal"));
        assert_eq!(mount_option(&BTreeMap::new()), None);
    }
}

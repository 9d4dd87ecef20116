//! What stands before an entry's own header: PAX records and GNU long names.

use std::collections::BTreeMap;

use super::number::parse_decimal;

const SCHILY_PREFIX: &[u8] = b"SCHILY.xattr.";
const LIBARCHIVE_PREFIX: &[u8] = b"LIBARCHIVE.xattr.";

/// Everything that extended headers said about the next entry.
#[derive(Debug, Default)]
pub(super) struct Extended {
    records: BTreeMap<Vec<u8>, Vec<u8>>,
    /// `GNU.sparse.offset` and `GNU.sparse.numbytes` of sparse format 0.0, which repeats its keys.
    pub(super) sparse_pairs: Vec<u64>,
    pub(super) gnu_path: Option<Vec<u8>>,
    pub(super) gnu_link_path: Option<Vec<u8>>,
}

impl Extended {
    /// Adds the records of one PAX header: `length key=value\n` each. `None` if malformed.
    pub(super) fn add_records(&mut self, mut bytes: &[u8]) -> Option<()> {
        while !bytes.is_empty() {
            let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
            let length = usize::try_from(parse_decimal(&bytes[..space])?).ok()?;
            let record = bytes.get(space + 1..length)?;
            let equals = record.iter().position(|byte| *byte == b'=')?;
            let (key, value) = (&record[..equals], record[equals + 1..].strip_suffix(b"\n")?);
            if matches!(key, b"GNU.sparse.offset" | b"GNU.sparse.numbytes") {
                self.sparse_pairs.push(parse_decimal(value)?);
            }
            // An empty value takes an earlier one back.
            if value.is_empty() && !key.starts_with(SCHILY_PREFIX) && !key.starts_with(LIBARCHIVE_PREFIX) {
                self.records.remove(key);
            } else {
                self.records.insert(key.to_vec(), value.to_vec());
            }
            bytes = &bytes[length..];
        }
        Some(())
    }

    pub(super) fn record(&self, key: &[u8]) -> Option<&[u8]> {
        self.records.get(key).map(Vec::as_slice)
    }

    pub(super) fn path(&self) -> Option<&[u8]> {
        // Of a sparse file, `path` is a placeholder for readers that cannot handle it.
        self.record(b"GNU.sparse.name").or(self.gnu_path.as_deref()).or_else(|| self.record(b"path"))
    }

    pub(super) fn link_path(&self) -> Option<&[u8]> {
        self.gnu_link_path.as_deref().or_else(|| self.record(b"linkpath"))
    }

    /// Extended attributes; where both notations are there, star's wins, as it needs no decoding.
    pub(super) fn into_attributes(self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut attributes = BTreeMap::new();
        for (key, value) in &self.records {
            if let Some(name) = key.strip_prefix(LIBARCHIVE_PREFIX)
                && let (Some(name), Some(value)) = (decode_percent(name), decode_base64(value))
            {
                attributes.insert(name, value);
            }
        }
        for (key, value) in self.records {
            if let Some(name) = key.strip_prefix(SCHILY_PREFIX) {
                attributes.insert(name.to_vec(), value);
            }
        }
        attributes
    }
}

fn decode_percent(name: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte == b'%' {
            let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
            decoded.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &rest[2..];
        } else {
            decoded.push(*byte);
        }
    }
    Some(decoded)
}

/// libarchive writes base 64 without padding.
fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let mut bits = 0_u32;
    let mut count = 0;
    for character in text.iter().filter(|character| **character != b'=') {
        let value = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            decoded.push((bits >> count).to_le_bytes()[0]);
        }
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_records_and_refuses_malformed_ones() {
        let mut extended = Extended::default();
        let text = b"12 path=a=b\n30 SCHILY.xattr.user.a=x\ny=z\0\n36 LIBARCHIVE.xattr.user.b%20c=aGkh\n";
        assert!(extended.add_records(text).is_some());
        assert_eq!(extended.path(), Some(&b"a=b"[..]));
        let attributes = extended.into_attributes();
        assert_eq!(attributes[&b"user.a"[..]], b"x\ny=z\0");
        assert_eq!(attributes[&b"user.b c"[..]], b"hi!");
        let malformed: [&[u8]; 7] = [
            b"x",
            b"99 a=b\n",
            b"6 a=bc",
            b"5 abc\n",
            b"0 a=b\n",
            b"99999999999999999999 a=b\n",
            b"-6 a=b\n",
        ];
        for text in malformed {
            assert!(Extended::default().add_records(text).is_none(), "{}", text.escape_ascii());
        }
    }
}

//! Writes PAX streams: the same bytes for the same entries.
//!
//! Extended headers are written only where an ustar field is too small, so that a plain tree is a plain
//! archive. Sparse files are of GNU's format 1.0, which GNU tar, bsdtar and Go read.

use std::io::{self, Write};

use super::header::{BLOCK_BYTES, Entry, Kind};
use super::sparse::Segment;

/// Largest number of seven octal digits.
const MAXIMUM_OWNER: u32 = 0o7_777_777;
/// Largest number of eleven octal digits.
const MAXIMUM_SIZE_BYTES: u64 = 0o77_777_777_777;
const NAME_BYTES: usize = 100;

/// Writes entries one after the other.
#[derive(Debug)]
pub struct Writer<W> {
    output: W,
    /// Of the current file, what is still owed.
    owed_bytes: u64,
    padding_bytes: usize,
}

impl<W: Write> Writer<W> {
    /// Writes to the start of a stream.
    pub fn new(output: W) -> Self {
        Self { output, owed_bytes: 0, padding_bytes: 0 }
    }

    /// Writes the headers of an entry. With segments, a file is sparse, and only their bytes follow.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn begin(&mut self, entry: &Entry, segments: Option<&[Segment]>) -> io::Result<()> {
        self.finish_content()?;
        let map = segments.map(sparse_map).unwrap_or_default();
        let data_bytes = match (entry.kind, segments) {
            (Kind::File, Some(segments)) => segments.iter().map(|segment| segment.length_bytes).sum(),
            (Kind::File, None) => entry.size_bytes,
            _ => 0,
        };
        let stored_bytes = data_bytes + map.len() as u64;
        let path = match segments {
            None => entry.path.clone(),
            Some(_) => placeholder(&entry.path),
        };
        let mut records = Vec::new();
        if path.len() > NAME_BYTES {
            add_record(&mut records, b"path", &path);
        }
        if entry.link_target.len() > NAME_BYTES {
            add_record(&mut records, b"linkpath", &entry.link_target);
        }
        if stored_bytes > MAXIMUM_SIZE_BYTES {
            add_record(&mut records, b"size", stored_bytes.to_string().as_bytes());
        }
        for (key, number) in [(&b"uid"[..], entry.uid), (b"gid", entry.gid)] {
            if number > MAXIMUM_OWNER {
                add_record(&mut records, key, number.to_string().as_bytes());
            }
        }
        let seconds = u64::try_from(entry.modified_seconds).ok().filter(|time| *time <= MAXIMUM_SIZE_BYTES);
        if seconds.is_none() {
            add_record(&mut records, b"mtime", entry.modified_seconds.to_string().as_bytes());
        }
        if segments.is_some() {
            add_record(&mut records, b"GNU.sparse.major", b"1");
            add_record(&mut records, b"GNU.sparse.minor", b"0");
            add_record(&mut records, b"GNU.sparse.name", &entry.path);
            add_record(&mut records, b"GNU.sparse.realsize", entry.size_bytes.to_string().as_bytes());
        }
        for (name, value) in &entry.attributes {
            add_record(&mut records, &[b"SCHILY.xattr.", name.as_slice()].concat(), value);
        }
        if !records.is_empty() {
            let mut header = Block::new(b"PaxHeaders.0/entry", b'x');
            header.octal(124, 12, records.len() as u64);
            self.output.write_all(&header.sealed())?;
            self.output.write_all(&records)?;
            self.pad(padding_of(records.len() as u64))?;
        }
        let mut header = Block::new(&path, type_flag(entry.kind));
        header.octal(100, 8, u64::from(entry.permissions));
        header.octal(108, 8, u64::from(entry.uid.min(MAXIMUM_OWNER)));
        header.octal(116, 8, u64::from(entry.gid.min(MAXIMUM_OWNER)));
        header.octal(124, 12, stored_bytes.min(MAXIMUM_SIZE_BYTES));
        header.octal(136, 12, seconds.unwrap_or(0));
        header.text(157, &entry.link_target);
        if matches!(entry.kind, Kind::CharacterDevice | Kind::BlockDevice) {
            header.octal(329, 8, u64::from(entry.device.0));
            header.octal(337, 8, u64::from(entry.device.1));
        }
        self.output.write_all(&header.sealed())?;
        self.output.write_all(&map)?;
        self.owed_bytes = data_bytes;
        self.padding_bytes = padding_of(data_bytes);
        Ok(())
    }

    /// Writes some of the current file's bytes; what is beyond the announced length is ignored.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn write_content(&mut self, bytes: &[u8]) -> io::Result<()> {
        let count = usize::try_from(self.owed_bytes).map_or(bytes.len(), |owed| owed.min(bytes.len()));
        self.output.write_all(&bytes[..count])?;
        self.owed_bytes -= count as u64;
        Ok(())
    }

    /// Ends the stream and returns the output.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.finish_content()?;
        self.output.write_all(&[0; 2 * BLOCK_BYTES])?;
        self.output.flush()?;
        Ok(self.output)
    }

    /// A file that shrank while it was read ends in zeros.
    fn finish_content(&mut self) -> io::Result<()> {
        while self.owed_bytes > 0 {
            self.write_content(&[0; BLOCK_BYTES])?;
        }
        let padding_bytes = std::mem::take(&mut self.padding_bytes);
        self.pad(padding_bytes)
    }

    fn pad(&mut self, length_bytes: usize) -> io::Result<()> {
        self.output.write_all(&[0; BLOCK_BYTES][..length_bytes])
    }
}

/// What readers that do not know sparse files would call the condensed file (GNU tar manual, "PAX 1").
fn placeholder(path: &[u8]) -> Vec<u8> {
    let start = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    [&path[..start], b"GNUSparseFile.0/", &path[start..]].concat()
}

/// Decimal lines: the number of segments, then offset and length of each, padded to a block.
fn sparse_map(segments: &[Segment]) -> Vec<u8> {
    let mut map = format!("{}\n", segments.len()).into_bytes();
    for segment in segments {
        map.extend_from_slice(format!("{}\n{}\n", segment.offset_bytes, segment.length_bytes).as_bytes());
    }
    map.resize(map.len().next_multiple_of(BLOCK_BYTES), 0);
    map
}

/// `length key=value\n`, where the length counts itself.
fn add_record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn padding_of(length_bytes: u64) -> usize {
    // Below a block.
    usize::try_from(length_bytes.next_multiple_of(BLOCK_BYTES as u64) - length_bytes).unwrap_or(0)
}

fn type_flag(kind: Kind) -> u8 {
    match kind {
        Kind::File => b'0',
        Kind::HardLink => b'1',
        Kind::Symlink => b'2',
        Kind::CharacterDevice => b'3',
        Kind::BlockDevice => b'4',
        Kind::Directory => b'5',
        Kind::Fifo => b'6',
    }
}

struct Block([u8; BLOCK_BYTES]);

impl Block {
    fn new(name: &[u8], type_flag: u8) -> Self {
        let mut block = Self([0; BLOCK_BYTES]);
        block.text(0, name);
        block.octal(100, 8, 0o644);
        block.octal(108, 8, 0);
        block.octal(116, 8, 0);
        block.octal(136, 12, 0);
        block.0[148..156].fill(b' ');
        block.0[156] = type_flag;
        block.0[257..265].copy_from_slice(b"ustar\x0000");
        block
    }

    /// A field of 100 bytes; longer texts are in an extended header and only begin here.
    fn text(&mut self, offset: usize, text: &[u8]) {
        let length = text.len().min(NAME_BYTES);
        self.0[offset..offset + length].copy_from_slice(&text[..length]);
    }

    /// Digits and a NUL.
    fn octal(&mut self, offset: usize, length: usize, number: u64) {
        let digits = format!("{number:0width$o}", width = length - 1);
        self.0[offset..offset + digits.len()].copy_from_slice(digits.as_bytes());
    }

    fn sealed(mut self) -> [u8; BLOCK_BYTES] {
        let sum: u64 = self.0.iter().map(|byte| u64::from(*byte)).sum();
        self.octal(148, 7, sum);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{Piece, Reader, TarError};
    use super::*;

    fn file(path: &[u8], size_bytes: u64) -> Entry {
        Entry {
            kind: Kind::File,
            path: path.to_vec(),
            link_target: Vec::new(),
            permissions: 0o4755,
            uid: 1000,
            gid: 3_000_000_000,
            modified_seconds: -5,
            modified_nanoseconds: 0,
            size_bytes,
            device: (0, 0),
            attributes: BTreeMap::from([(b"user.a".to_vec(), b"x\ny\0".to_vec())]),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let long = [b"d/".repeat(120), b"name".to_vec()].concat();
        let device = Entry { kind: Kind::CharacterDevice, device: (5, 1), ..file(b"tty", 0) };
        let link = Entry { kind: Kind::Symlink, link_target: long.clone(), ..file(b"link", 0) };
        let mut writer = Writer::new(Vec::new());
        writer.begin(&file(&long, 3), None).unwrap();
        writer.write_content(b"abcdef").unwrap();
        writer.begin(&device, None).unwrap();
        writer.begin(&link, None).unwrap();
        let segments = [
            Segment { offset_bytes: 1 << 20, length_bytes: 5 },
            Segment { offset_bytes: 1 << 30, length_bytes: 2 },
        ];
        writer.begin(&file(b"d/sparse", 1 << 40), Some(&segments)).unwrap();
        // Short by two bytes, as of a file that shrinks.
        writer.write_content(b"hello").unwrap();
        let bytes = writer.finish().unwrap();
        assert!(bytes.len().is_multiple_of(BLOCK_BYTES));

        let mut reader = Reader::new(bytes.as_slice());
        assert_eq!(reader.next_entry().unwrap().unwrap(), file(&long, 3));
        let mut content = Vec::new();
        let mut collect = |piece: Piece<'_>| -> Result<(), TarError> {
            match piece {
                Piece::Data(data) => content.push((data.to_vec(), 0)),
                Piece::Zeros(length) => content.push((Vec::new(), length)),
            }
            Ok(())
        };
        reader.read_content(&mut collect).unwrap();
        assert_eq!(reader.next_entry().unwrap().unwrap(), device);
        assert_eq!(reader.next_entry().unwrap().unwrap(), link);
        assert_eq!(reader.next_entry().unwrap().unwrap(), file(b"d/sparse", 1 << 40));
        reader.read_content(&mut collect).unwrap();
        assert_eq!(reader.next_entry().unwrap(), None);
        assert_eq!(
            content,
            [
                (b"abc".to_vec(), 0),
                (Vec::new(), 1 << 20),
                (b"hello".to_vec(), 0),
                (Vec::new(), (1 << 30) - (1 << 20) - 5),
                (vec![0, 0], 0),
                (Vec::new(), (1 << 40) - (1 << 30) - 2),
            ]
        );
    }

    #[test]
    fn record_lengths_count_themselves() {
        for length in [1, 5, 90, 91, 92, 93, 94, 95, 990, 991, 992, 993] {
            let mut records = Vec::new();
            add_record(&mut records, b"k", &vec![b'v'; length]);
            let announced = records.split(|byte| *byte == b' ').next().unwrap();
            assert_eq!(std::str::from_utf8(announced).unwrap(), records.len().to_string());
        }
    }
}

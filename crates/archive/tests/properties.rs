//! Entries that nobody thought of come out of a stream as they went in.

use bulkhead_archive::tar::{Entry, Kind, Piece, Reader, TarError, Writer};
use proptest::prelude::*;
use proptest::sample::Index;

fn text(length: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![1..=u8::MAX, Just(b'/')], 1..length)
}

fn entry() -> impl Strategy<Value = Entry> {
    let kinds = [
        Kind::File,
        Kind::Directory,
        Kind::Symlink,
        Kind::HardLink,
        Kind::Fifo,
        Kind::CharacterDevice,
        Kind::BlockDevice,
    ];
    let owner = || prop_oneof![0..3_u32, any::<u32>()];
    let time = prop_oneof![Just(0), any::<u32>().prop_map(i64::from), -1_000_000_000_000..0_i64];
    let attributes = proptest::collection::btree_map(
        "user[.][a-z]{1,9}",
        proptest::collection::vec(any::<u8>(), 0..60),
        0..3,
    );
    let names = (text(300), text(300));
    (
        proptest::sample::select(kinds.to_vec()),
        names,
        0..0o10000_u16,
        (owner(), owner()),
        time,
        0..2000_u64,
        attributes,
        (0..4096_u32, 0..65_536_u32),
    )
        .prop_map(
            |(
                kind,
                (path, target),
                permissions,
                (uid, gid),
                modified_seconds,
                length,
                attributes,
                device,
            )| Entry {
                kind,
                path,
                link_target: if matches!(kind, Kind::Symlink | Kind::HardLink) { target } else { Vec::new() },
                permissions,
                uid,
                gid,
                modified_seconds,
                modified_nanoseconds: 0,
                size_bytes: if kind == Kind::File { length } else { 0 },
                device: if matches!(kind, Kind::CharacterDevice | Kind::BlockDevice) {
                    device
                } else {
                    (0, 0)
                },
                attributes: attributes.into_iter().map(|(name, value)| (name.into_bytes(), value)).collect(),
            },
        )
}

fn stream(entries: &[Entry]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for entry in entries {
        writer.begin(entry, None).expect("memory");
        writer.write_content(&vec![b'x'; usize::try_from(entry.size_bytes).expect("small")]).expect("memory");
    }
    writer.finish().expect("memory")
}

proptest! {
    #[test]
    fn what_is_written_is_read(entries in proptest::collection::vec(entry(), 0..6)) {
        let bytes = stream(&entries);
        let mut reader = Reader::new(bytes.as_slice());
        for entry in &entries {
            let found = reader.next_entry().expect("sound");
            prop_assert_eq!(found.as_ref(), Some(entry));
            let mut content = Vec::new();
            reader.read_content(|piece| {
                match piece {
                    Piece::Data(data) => content.extend_from_slice(data),
                    Piece::Zeros(length) => panic!("a hole of {length} bytes that nobody made"),
                }
                Ok::<(), TarError>(())
            }).expect("its content");
            prop_assert_eq!(content.len() as u64, entry.size_bytes);
        }
        prop_assert_eq!(reader.next_entry().expect("sound"), None);
    }

    #[test]
    fn damaged_streams_end(
        entries in proptest::collection::vec(entry(), 1..6),
        damages in proptest::collection::vec((any::<Index>(), any::<u8>()), 1..9),
        length in any::<Index>(),
    ) {
        let mut bytes = stream(&entries);
        for (place, byte) in damages {
            let position = place.index(bytes.len());
            bytes[position] = byte;
        }
        bytes.truncate(length.index(bytes.len()) + 1);
        let mut reader = Reader::new(bytes.as_slice());
        let mut read_bytes = 0;
        while let Ok(Some(_)) = reader.next_entry() {
            let count = |piece: Piece<'_>| -> Result<(), TarError> {
                if let Piece::Data(data) = piece {
                    read_bytes += data.len();
                }
                Ok(())
            };
            if reader.read_content(count).is_err() {
                break;
            }
        }
        prop_assert!(read_bytes <= bytes.len());
    }
}

//! Trees that nobody thought of, and images that somebody damaged.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

use bulkhead_erofs::{BLOCK_BYTES, FileType, Identity, Image, Metadata, Stat, Writer};
use proptest::prelude::*;
use proptest::sample::Index;

/// Directories, symbolic links and files below names, with what they have.
#[derive(Clone, Debug)]
enum Node {
    File { metadata: Metadata, content: Vec<u8> },
    Link { metadata: Metadata, target: Vec<u8> },
    Directory { metadata: Metadata, children: BTreeMap<Vec<u8>, Node> },
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    // Any bytes but those that no name has.
    let byte = any::<u8>().prop_filter("no name has it", |byte| *byte != 0 && *byte != b'/');
    proptest::collection::vec(byte, 1..40)
        .prop_filter("it is no name", |name| !matches!(name.as_slice(), b"." | b".."))
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let attributes =
        proptest::collection::btree_map("[a-z]{1,9}", proptest::collection::vec(any::<u8>(), 0..50), 0..3);
    let owner = || prop_oneof![Just(0), any::<u16>().prop_map(u32::from), any::<u32>()];
    (0..0o10000_u16, owner(), owner(), prop_oneof![Just(0), any::<i64>()], attributes).prop_map(
        |(permissions, uid, gid, modified_seconds, attributes)| {
            let mut metadata =
                Metadata { uid, gid, modified_seconds, ..Metadata::with_permissions(permissions) };
            for (name, value) in attributes {
                metadata.set_attribute(format!("user.{name}").as_bytes(), &value);
            }
            metadata
        },
    )
}

fn node() -> impl Strategy<Value = Node> {
    // Around the borders of blocks is where mistakes are.
    let length = prop_oneof![
        0..100_usize,
        BLOCK_BYTES - 70..BLOCK_BYTES + 70,
        2 * BLOCK_BYTES - 70..2 * BLOCK_BYTES + 70
    ];
    let file = (metadata(), length, any::<u8>())
        .prop_map(|(metadata, length, byte)| Node::File { metadata, content: vec![byte; length] });
    let target = proptest::collection::vec(1..=u8::MAX, 1..300);
    let link = (metadata(), target).prop_map(|(metadata, target)| Node::Link { metadata, target });
    prop_oneof![3 => file, 1 => link].prop_recursive(4, 60, 12, |inner| {
        (metadata(), proptest::collection::btree_map(name(), inner, 0..12))
            .prop_map(|(metadata, children)| Node::Directory { metadata, children })
    })
}

fn write(writer: &mut Writer, parent: bulkhead_erofs::DirectoryId, name: &[u8], node: &Node) {
    match node {
        Node::File { metadata, content } => {
            let mut file = writer.create_file(parent, name, metadata).expect("a file");
            file.write(content).expect("its content");
            file.finish().expect("the whole of it");
        }
        Node::Link { metadata, target } => {
            writer.create_symlink(parent, name, metadata, target).expect("a link");
        }
        Node::Directory { metadata, children } => {
            let directory = writer.create_directory(parent, name, metadata.clone()).expect("a directory");
            for (name, child) in children {
                write(writer, directory, name, child);
            }
        }
    }
}

/// The names of the root are the children.
fn image(children: &BTreeMap<Vec<u8>, Node>) -> File {
    let file = tempfile::tempfile().expect("temporary file");
    let mut writer = Writer::new(file.try_clone().expect("handle")).expect("a writer");
    for (name, child) in children {
        write(&mut writer, Writer::ROOT, name, child);
    }
    writer.finish(Identity::default()).expect("an image");
    file
}

fn sorted(mut metadata: Metadata) -> Metadata {
    metadata.attributes.sort_by(|one, other| one.name.cmp(&other.name));
    metadata
}

fn read(image: &Image, stat: &Stat) -> Node {
    let metadata = sorted(stat.metadata.clone());
    match stat.kind {
        FileType::Regular => {
            Node::File { metadata, content: image.content(stat, u64::MAX).expect("content") }
        }
        FileType::Symlink => Node::Link { metadata, target: image.content(stat, u64::MAX).expect("target") },
        FileType::Directory => {
            let entries = image.entries(stat).expect("entries").into_iter();
            let children = entries.map(|(name, stat)| (name, read(image, &stat))).collect();
            Node::Directory { metadata, children }
        }
        kind => panic!("nobody made a {kind:?}"),
    }
}

fn normal(node: Node) -> Node {
    match node {
        Node::File { metadata, content } => Node::File { metadata: sorted(metadata), content },
        Node::Link { metadata, target } => Node::Link { metadata: sorted(metadata), target },
        Node::Directory { metadata, children } => Node::Directory {
            metadata: sorted(metadata),
            children: children.into_iter().map(|(name, child)| (name, normal(child))).collect(),
        },
    }
}

/// Looks at all there is; a damaged image may contain itself.
fn explore(image: &Image) {
    let mut pending: Vec<Stat> = image.root().into_iter().collect();
    for _ in 0..300 {
        let Some(stat) = pending.pop() else { return };
        if stat.kind == FileType::Directory {
            pending.extend(image.entries(&stat).into_iter().flatten().map(|(_, stat)| stat).take(300));
        } else {
            drop(image.content(&stat, 1 << 20));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_written_is_read(children in proptest::collection::btree_map(name(), node(), 0..8)) {
        let image = Image::open(image(&children)).expect("it opens");
        let root = image.root().expect("a root");
        for (name, child) in &children {
            let found = image.lookup(name).expect("sound").expect("it is there");
            prop_assert_eq!(format!("{:?}", read(&image, &found)), format!("{:?}", normal(child.clone())));
        }
        prop_assert_eq!(image.entries(&root).expect("entries").len(), children.len());
        prop_assert!(image.lookup(b"\x01no such name, it is longer than any of them could be").expect("sound").is_none());
    }

    #[test]
    fn what_is_damaged_is_refused_or_read(
        children in proptest::collection::btree_map(name(), node(), 1..6),
        damages in proptest::collection::vec((any::<Index>(), any::<u8>()), 1..20),
    ) {
        let file = image(&children);
        let length = usize::try_from(file.metadata().expect("length").len()).expect("small");
        let mut is_superblock_whole = true;
        for (place, byte) in &damages {
            let position = place.index(length);
            let mut before = [0];
            file.read_exact_at(&mut before, position as u64).expect("a byte");
            file.write_all_at(&[*byte], position as u64).expect("a byte");
            is_superblock_whole &= before[0] == *byte || !(1024..BLOCK_BYTES).contains(&position);
        }
        // A later damage may undo an earlier one; otherwise the checksum tells.
        match Image::open(file) {
            Ok(image) => explore(&image),
            Err(error) => prop_assert!(!is_superblock_whole, "{error}"),
        }
    }
}

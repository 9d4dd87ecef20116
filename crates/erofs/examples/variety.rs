//! Writes a small image with one of everything: `variety <output.erofs>`. Fuzzing begins with it; see fuzz/README.md.

use std::fs::File;

use bulkhead_erofs::{BLOCK_BYTES, Identity, Metadata, Special, Writer};

/// More names than one block of a directory holds.
const NAMES: usize = 300;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some(output) = std::env::args_os().nth(1) else {
        return Err("usage: variety <output.erofs>".into());
    };
    let output = File::options().read(true).write(true).create(true).truncate(true).open(output)?;
    let mut writer = Writer::new(output)?;
    let compact = Metadata::with_permissions(0o644);
    let mut extended =
        Metadata { uid: 100_000, modified_seconds: -1, modified_nanoseconds: 5, ..compact.clone() };
    extended.set_attribute(b"user.short", b"value");
    extended.set_attribute(b"security.capability", &[1; 20]);
    extended.set_attribute(b"trusted.overlay.opaque", b"y");

    let folder = writer.create_directory(Writer::ROOT, b"folder", extended.clone())?;
    let deep = writer.create_directory(folder, b"deep", Metadata::with_permissions(0o755))?;
    let lengths = [0, 5, BLOCK_BYTES, BLOCK_BYTES + 7, BLOCK_BYTES + 4090];
    for (index, (metadata, length_bytes)) in
        [&compact, &extended].iter().flat_map(|metadata| lengths.map(|length| (metadata, length))).enumerate()
    {
        let name = format!("file-{index}");
        let mut file = writer.create_file(folder, name.as_bytes(), metadata)?;
        file.write(&vec![b'x'; length_bytes])?;
        let node = file.finish()?;
        writer.link(deep, name.as_bytes(), node)?;
    }
    writer.create_symlink(deep, b"link", &compact, b"../file-1")?;
    for (name, special) in [
        (&b"null"[..], Special::CharacterDevice { major: 1, minor: 3 }),
        (b"disk", Special::BlockDevice { major: 8, minor: 1 }),
        (b"fifo", Special::Fifo),
        (b"socket", Special::Socket),
    ] {
        writer.create_special(deep, name, &extended, special)?;
    }
    let many = writer.create_directory(Writer::ROOT, b"many", extended.clone())?;
    for index in 0..NAMES {
        writer.create_special(many, format!("name-{index:03}").as_bytes(), &compact, Special::Fifo)?;
    }
    writer.finish(Identity { uuid: [7; 16], label: *b"variety\0\0\0\0\0\0\0\0\0" })?;
    Ok(())
}

//! A container's disk from the template.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use super::DiskError;
use super::template::Template;

pub(super) fn create(template: &Template, path: &Path) -> Result<(), DiskError> {
    let temporary = path.with_extension("tmp");
    let written = write(template, &temporary).and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|source| {
        drop(std::fs::remove_file(&temporary));
        DiskError::Clone { path: path.to_owned(), source }
    })
}

fn write(template: &Template, path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.set_len(template.length_bytes)?;
    for (offset, content) in &template.extents {
        file.write_all_at(content, *offset)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn clones_are_sparse_and_equal() {
        let folder = tempfile::tempdir().unwrap();
        let template = Template::open_or_create(folder.path(), 64 << 20).unwrap();
        let again = Template::open_or_create(folder.path(), 64 << 20).unwrap();
        assert_eq!(template.extents, again.extents);
        let disk = folder.path().join("disk.ext4");
        create(&template, &disk).unwrap();
        let metadata = std::fs::metadata(&disk).unwrap();
        assert_eq!(metadata.len(), 64 << 20);
        assert!(metadata.blocks() * 512 < 1 << 20, "{} blocks", metadata.blocks());
        let bytes = std::fs::read(&disk).unwrap();
        let original = std::fs::read(folder.path().join("empty-1-67108864.ext4")).unwrap();
        assert!(bytes == original);
    }
}

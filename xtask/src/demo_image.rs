//! The demo image: Debian's busybox-static and one script.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::oci_archive::{self, ImageDefaults};
use crate::{process, repository};

const REFERENCE: &str = "demo:latest";

/// Writes the image's OCI archive.
pub(crate) fn write_archive(target: &Path) -> Result<()> {
    let layer = layer()?;
    oci_archive::write(
        target,
        &mut layer.as_slice(),
        &ImageDefaults {
            reference: REFERENCE,
            environment: &["PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"],
            command: &["/bin/demo"],
            working_directory: "/",
        },
    )
}

fn layer() -> Result<Vec<u8>> {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .map(Path::new)
        .into_iter()
        .find(|path| path.exists())
        .context("busybox is missing: apt-get install busybox-static")?;
    let applets = process::output(Command::new(busybox).arg("--list"))?;
    let sources = repository::root().join("images/demo");
    let mut archive = tar::Builder::new(Vec::new());
    for (path, mode) in [
        ("bin", 0o755),
        ("etc", 0o755),
        ("home", 0o755),
        ("proc", 0o555),
        ("root", 0o700),
        ("run", 0o755),
        ("sys", 0o555),
        ("tmp", 0o1777),
        ("usr", 0o755),
        ("usr/bin", 0o755),
        ("var", 0o755),
        ("var/tmp", 0o1777),
    ] {
        let mut header = header(tar::EntryType::Directory, mode, 0);
        archive.append_data(&mut header, path, std::io::empty())?;
    }
    let program = fs::read(busybox).with_context(|| format!("cannot read {}", busybox.display()))?;
    append_file(&mut archive, "bin/busybox", 0o755, &program)?;
    for (file, target, mode) in
        [("passwd", "etc/passwd", 0o644), ("group", "etc/group", 0o644), ("demo", "bin/demo", 0o755)]
    {
        let source = sources.join(file);
        let contents = fs::read(&source).with_context(|| format!("cannot read {}", source.display()))?;
        append_file(&mut archive, target, mode, &contents)?;
    }
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        let mut header = header(tar::EntryType::Symlink, 0o777, 0);
        archive.append_link(&mut header, format!("bin/{applet}"), "busybox")?;
    }
    let mut header = header(tar::EntryType::Symlink, 0o777, 0);
    archive.append_link(&mut header, "usr/bin/env", "/bin/busybox")?;
    Ok(archive.into_inner()?)
}

fn append_file(archive: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32, contents: &[u8]) -> Result<()> {
    let mut header = header(tar::EntryType::Regular, mode, contents.len() as u64);
    archive.append_data(&mut header, path, contents).with_context(|| format!("cannot add {path}"))
}

fn header(kind: tar::EntryType, mode: u32, length_bytes: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(length_bytes);
    header
}

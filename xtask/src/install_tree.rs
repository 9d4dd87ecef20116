//! Makes `.bulkhead/`, which looks like an installation.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{demo_image, emulators, process, repository};

const DAEMONS: [&str; 3] = ["container-apiserver", "container-network", "container-runtime-linux"];
const FILE_SERVER: &str = "container-virtiofs";

/// Builds everything and returns the tree's root.
pub(crate) fn build() -> Result<PathBuf> {
    let root = repository::root();
    let tree = repository::install_tree();
    for folder in ["bin", "libexec/bulkhead", "share/bulkhead"] {
        let folder = tree.join(folder);
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }

    let kernel = process::output(&mut Command::new(root.join("kernel/build")))?;
    publish(Path::new(kernel.trim()), &tree.join("share/bulkhead/kernel-uml"))?;

    emulators::install(&tree.join("share/bulkhead/emulators"))?;

    process::cargo(&["build", "--release", "--bins", "--workspace"])?;
    let release = target_directory(&root).join("release");
    publish(&release.join("container"), &tree.join("bin/container"))?;
    for daemon in DAEMONS {
        publish(&release.join(daemon), &tree.join("libexec/bulkhead").join(daemon))?;
    }

    process::file_server_cargo(&["build", "--release"])?;
    publish(
        &root.join("file-server/target/release").join(FILE_SERVER),
        &tree.join("libexec/bulkhead").join(FILE_SERVER),
    )?;

    manual_pages()?;
    assemble()?;
    Ok(tree)
}

/// Lets the installed command write its manual pages, so that they say what it does.
pub(crate) fn manual_pages() -> Result<()> {
    let tree = repository::install_tree();
    let folder = tree.join("share/man/man1");
    // A command that is gone leaves no page behind.
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", folder.display()));
        }
        _ => {}
    }
    process::run(Command::new(tree.join("bin/container")).arg("man").arg(&folder))
}

/// Builds the guest, the initramfs and the demo image.
pub(crate) fn assemble() -> Result<()> {
    let root = repository::root();
    let tree = repository::install_tree();
    process::guest_cargo(&["build", "--release", "--target", "x86_64-unknown-linux-gnu"])?;
    let vminitd = root.join("guest/target/x86_64-unknown-linux-gnu/release/vminitd");
    let fresh = tree.join("share/bulkhead/initramfs.cpio.new");
    let program = fs::read(&vminitd).with_context(|| format!("cannot read {}", vminitd.display()))?;
    fs::write(&fresh, bulkhead_initramfs::archive(&program)?)
        .with_context(|| format!("cannot write {}", fresh.display()))?;
    rename(&fresh, &tree.join("share/bulkhead/initramfs.cpio"))?;

    let fresh = tree.join("share/bulkhead/demo.tar.new");
    demo_image::write_archive(&fresh)?;
    rename(&fresh, &tree.join("share/bulkhead/demo.tar"))?;
    Ok(())
}

fn target_directory(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

/// Copies by rename, so that a running program keeps its old file; leaves equal files alone.
pub(crate) fn publish(source: &Path, target: &Path) -> Result<()> {
    if same_version(source, target) {
        return Ok(());
    }
    let temporary = target.with_extension("new");
    fs::copy(source, &temporary)
        .with_context(|| format!("cannot copy {} to {}", source.display(), temporary.display()))?;
    fs::set_permissions(&temporary, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} executable", temporary.display()))?;
    rename(&temporary, target)
}

fn rename(source: &Path, target: &Path) -> Result<()> {
    fs::rename(source, target)
        .with_context(|| format!("cannot rename {} to {}", source.display(), target.display()))
}

/// The copy is newer than its source and as long.
fn same_version(source: &Path, target: &Path) -> bool {
    let (Ok(source), Ok(target)) = (fs::metadata(source), fs::metadata(target)) else { return false };
    let (Ok(from), Ok(to)) = (source.modified(), target.modified()) else { return false };
    source.len() == target.len() && to >= from
}

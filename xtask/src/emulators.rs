//! The emulators of other architectures, each as the disk image that a machine mounts.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use bulkhead_erofs::{Identity, Metadata, Writer};

use crate::{install_tree, process, repository};

/// What vminitd looks for in an image (`Emulator` of guest.proto).
const PROGRAM: &[u8] = b"qemu";

/// Writes `ARCHITECTURE.erofs` for each of them, and what Debian says of their owners. Where they cannot be had, images
/// of this host's architecture run all the same.
pub(crate) fn install(folder: &Path) -> Result<()> {
    let built = match process::output(&mut Command::new(repository::root().join("emulators/build"))) {
        Ok(built) => built,
        Err(error) => {
            eprintln!("xtask: warning: images for other architectures will not run: {error:#}");
            return Ok(());
        }
    };
    let built = Path::new(built.trim());
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut found = 0;
    for entry in fs::read_dir(built).with_context(|| format!("cannot list {}", built.display()))? {
        let source = entry?.path();
        let name = source.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match name.as_str() {
            "source" => {}
            "copyright" => install_tree::publish(&source, &folder.join(name))?,
            _ => {
                found += 1;
                pack(&source, &folder.join(name + ".erofs"))?;
            }
        }
    }
    ensure!(found > 0, "there are no emulators in {}", built.display());
    Ok(())
}

/// Anew each time, which takes a moment: times of files do not tell one version of the package from another.
fn pack(program: &Path, target: &Path) -> Result<()> {
    let bytes = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    let fresh = target.with_extension("new");
    let image = File::create(&fresh).with_context(|| format!("cannot create {}", fresh.display()))?;
    let mut writer = Writer::new(image)?;
    let metadata = Metadata::with_permissions(0o755);
    let mut file = writer.create_file(Writer::ROOT, PROGRAM, &metadata)?;
    file.write(&bytes)?;
    file.finish()?;
    writer.finish(Identity::default())?;
    fs::rename(&fresh, target).with_context(|| format!("cannot publish {}", target.display()))
}

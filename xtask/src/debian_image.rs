//! The Debian test image: a bookworm root file system with the programs that people run.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::oci_archive::{self, ImageDefaults};
use crate::{process, repository};

const SUITE: &str = "bookworm";

/// The image's OCI archive, made when its recipe is new.
pub(crate) fn archive() -> Result<PathBuf> {
    let recipe_path = repository::root().join("images/debian/packages");
    let recipe =
        fs::read_to_string(&recipe_path).with_context(|| format!("cannot read {}", recipe_path.display()))?;
    let packages: Vec<&str> =
        recipe.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let key = Sha256::digest(format!("{SUITE} {}", packages.join(" ")));
    let key = key.iter().take(8).fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let folder = repository::cache()?.join("images");
    let target = folder.join(format!("debian-{key}.tar"));
    if target.exists() {
        return Ok(target);
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    eprintln!("xtask: making the Debian test image (a few minutes, once)");
    let root = folder.join(format!("debian-{key}.root.tar"));
    process::run(
        Command::new("mmdebstrap")
            .args(["--quiet", "--variant=minbase", "--include"])
            .arg(packages.join(","))
            // Package documentation is of no use in a test image.
            .args(["--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*"])
            .args([SUITE])
            .arg(&root)
            // As kernel/build; mmdebstrap's own default otherwise.
            .args(std::env::var_os("BULKHEAD_DEBIAN_MIRROR")),
    )
    .context("apt-get install mmdebstrap")?;
    let fresh = folder.join(format!("debian-{key}.new"));
    let mut layer = File::open(&root).with_context(|| format!("cannot open {}", root.display()))?;
    oci_archive::write(
        &fresh,
        &mut layer,
        &ImageDefaults {
            reference: "debian:test",
            environment: &["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            command: &["/bin/bash"],
            working_directory: "/",
        },
    )?;
    fs::remove_file(&root).with_context(|| format!("cannot remove {}", root.display()))?;
    fs::rename(&fresh, &target).with_context(|| format!("cannot publish {}", target.display()))?;
    Ok(target)
}

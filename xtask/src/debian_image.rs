//! Images made from Debian packages: bookworm root file systems with the programs that people run.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::oci_archive::{self, ImageDefaults};
use crate::{process, repository};

const SUITE: &str = "bookworm";

/// What is in an image and what it is called; its packages are in `images/<name>/packages`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recipe {
    name: &'static str,
    reference: &'static str,
}

/// What the suites run real programs of.
pub(crate) const TEST: Recipe = Recipe { name: "debian", reference: "debian:test" };
/// What the benchmark of networks talks to.
pub(crate) const PROGRAMS: Recipe = Recipe { name: "programs", reference: "programs:bench" };

/// The image's OCI archive, made when its recipe is new.
pub(crate) fn archive(image: Recipe) -> Result<PathBuf> {
    let name = image.name;
    let recipe_path = repository::root().join("images").join(name).join("packages");
    let recipe =
        fs::read_to_string(&recipe_path).with_context(|| format!("cannot read {}", recipe_path.display()))?;
    let packages: Vec<&str> =
        recipe.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let key = key(&format!("{SUITE} {}", packages.join(" ")));
    let folder = repository::cache()?.join("images");
    let target = folder.join(format!("{name}-{key}.tar"));
    if target.exists() {
        return Ok(target);
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    eprintln!("xtask: making the image {} (a few minutes, once)", image.reference);
    let root = folder.join(format!("{name}-{key}.root.tar"));
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
    let fresh = folder.join(format!("{name}-{key}.new"));
    let mut layer = File::open(&root).with_context(|| format!("cannot open {}", root.display()))?;
    oci_archive::write(
        &fresh,
        &mut layer,
        &ImageDefaults {
            reference: image.reference,
            environment: &["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            command: &["/bin/bash"],
            working_directory: "/",
        },
    )?;
    fs::remove_file(&root).with_context(|| format!("cannot remove {}", root.display()))?;
    fs::rename(&fresh, &target).with_context(|| format!("cannot publish {}", target.display()))?;
    Ok(target)
}

/// Changes with the recipe.
pub(crate) fn key(recipe: &str) -> String {
    let hash = Sha256::digest(recipe);
    hash.iter().take(8).fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

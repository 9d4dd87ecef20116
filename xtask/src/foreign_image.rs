//! An image for architectures that are not the host's, from Debian's packages as they are: nothing of them runs here.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::oci_archive::{self, ImageDefaults, Variant};
use crate::{debian_image, process, repository};

const REFERENCE: &str = "foreign:test";
/// The oldest that has all of the architectures.
const SUITE: &str = "trixie";
/// As in scripts/debian-package.
const MIRROR: &str = "http://deb.debian.org/debian";
/// OCI's name, Debian's, and the packages: everywhere one static program, on one architecture programs that load others
/// and have threads.
const VARIANTS: [(&str, &str, &str); 6] = [
    ("386", "i386", "busybox-static"),
    ("arm", "armhf", "busybox-static"),
    ("arm64", "arm64", "busybox-static,bash,coreutils,libc-bin,python3-minimal"),
    ("ppc64le", "ppc64el", "busybox-static"),
    ("riscv64", "riscv64", "busybox-static"),
    ("s390x", "s390x", "busybox-static"),
];

/// The image's OCI archive, made when its recipe is new.
pub(crate) fn archive() -> Result<PathBuf> {
    let folder = repository::cache()?.join("images");
    let key = debian_image::key(&format!("{SUITE} {VARIANTS:?}"));
    let target = folder.join(format!("foreign-{key}.tar"));
    if target.exists() {
        return Ok(target);
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    eprintln!("xtask: making the image {REFERENCE} (a minute, once)");
    let root = |architecture: &str| folder.join(format!("foreign-{key}.{architecture}.root.tar"));
    let mut layers = Vec::new();
    for (architecture, debian, packages) in VARIANTS {
        let root = root(architecture);
        extract(debian, packages, &root)?;
        layers.push(File::open(&root).with_context(|| format!("cannot open {}", root.display()))?);
    }
    let fresh = folder.join(format!("foreign-{key}.new"));
    let variants = VARIANTS.iter().zip(&mut layers);
    oci_archive::write_index(
        &fresh,
        variants.map(|((architecture, ..), layer)| Variant { architecture, layer }),
        &ImageDefaults {
            reference: REFERENCE,
            environment: &["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            command: &["/usr/bin/busybox", "sh"],
            working_directory: "/",
        },
    )?;
    for (architecture, ..) in VARIANTS {
        let root = root(architecture);
        fs::remove_file(&root).with_context(|| format!("cannot remove {}", root.display()))?;
    }
    fs::rename(&fresh, &target).with_context(|| format!("cannot publish {}", target.display()))?;
    Ok(target)
}

/// Unpacks packages and runs nothing of them.
fn extract(architecture: &str, packages: &str, target: &Path) -> Result<()> {
    process::run(
        Command::new("mmdebstrap")
            .args(["--quiet", "--variant=extract", "--architectures", architecture, "--include", packages])
            .arg(SUITE)
            .arg(target)
            // Named, so that mmdebstrap adds no updates: six architectures of two more archives are seldom all in step
            // on a mirror.
            .arg(std::env::var_os("BULKHEAD_DEBIAN_MIRROR").unwrap_or_else(|| MIRROR.into())),
    )
    .context("apt-get install mmdebstrap")
}

//! Images for other architectures: QEMU's user emulation runs their programs in the guest.

use std::fs;
use std::io;
use std::path::PathBuf;

use bulkhead_api::container::Platform;
use bulkhead_api::error::{ApiError, ErrorCode};
use bulkhead_paths::Directories;
use bulkhead_runtime_control::{Emulator, ImageLayer};

use crate::error::failed;

/// The only operating system whose programs a guest runs.
const OPERATING_SYSTEM: &str = "linux";
/// Those whose programs vminitd knows (`emulation.rs` there), as the OCI image specification calls them.
const ARCHITECTURES: [&str; 6] = ["386", "arm", "arm64", "ppc64le", "riscv64", "s390x"];

/// What a container needs beyond the processor: the emulator of its image's programs, and with `all` every one that is
/// installed.
pub(super) fn emulators(
    directories: &Directories,
    platform: &Platform,
    all: bool,
) -> Result<Vec<Emulator>, ApiError> {
    let mut emulators: Vec<Emulator> = of_image(directories, platform)?.into_iter().collect();
    if all {
        for architecture in ARCHITECTURES {
            let others = emulators.iter().all(|emulator| emulator.architecture != architecture);
            emulators.extend(if others { installed(directories, architecture)? } else { None });
        }
    }
    Ok(emulators)
}

/// What runs the programs of an image for `platform`; `None` where the machine's processor does.
fn of_image(directories: &Directories, platform: &Platform) -> Result<Option<Emulator>, ApiError> {
    let Platform { os, architecture, variant } = platform;
    let shown = variant.iter().fold(format!("{os}/{architecture}"), |shown, variant| shown + "/" + variant);
    let unsupported = |what: &str| {
        Err(ApiError::new(ErrorCode::Unsupported, format!("an image for {shown} cannot run here: {what}")))
    };
    if os != OPERATING_SYSTEM {
        return unsupported("machines run Linux");
    }
    // By its normal name, which may be another than the image's own.
    let architecture = bulkhead_oci::Platform::linux(architecture).architecture;
    if architecture == bulkhead_oci::Platform::host().architecture {
        return Ok(None);
    }
    let Some(known) = ARCHITECTURES.into_iter().find(|known| *known == architecture) else {
        return unsupported(&format!("there are emulators of {} alone", ARCHITECTURES.join(", ")));
    };
    match installed(directories, known)? {
        Some(emulator) => Ok(Some(emulator)),
        None => unsupported(&format!(
            "this installation has no emulator '{}'",
            path(directories, known).display()
        )),
    }
}

fn installed(directories: &Directories, architecture: &str) -> Result<Option<Emulator>, ApiError> {
    let path = path(directories, architecture);
    match fs::metadata(&path) {
        Ok(metadata) => Ok(Some(Emulator {
            architecture: architecture.to_owned(),
            image: ImageLayer { path, length_bytes: metadata.len() },
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(format!("cannot examine emulator '{}'", path.display()), &error)),
    }
}

fn path(directories: &Directories, architecture: &str) -> PathBuf {
    directories.emulators().join(format!("{architecture}.erofs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        let platform: bulkhead_oci::Platform = text.parse().unwrap();
        Platform { os: platform.os, architecture: platform.architecture, variant: platform.variant }
    }

    fn directories(install_root: &std::path::Path) -> Directories {
        let mut directories = Directories::from_environment().unwrap();
        directories.install_root = install_root.to_owned();
        directories
    }

    #[test]
    fn only_images_for_others_need_an_emulator_and_only_one_that_is_there_is_taken() {
        let root = tempfile::tempdir().unwrap();
        let directories = directories(root.path());
        fs::create_dir_all(directories.emulators()).unwrap();
        fs::write(directories.emulators().join("arm64.erofs"), [0; 4096]).unwrap();
        let emulator = |text| of_image(&directories, &platform(text));
        let all = |text| {
            let found = emulators(&directories, &platform(text), true).unwrap();
            found.into_iter().map(|emulator| emulator.architecture).collect::<Vec<_>>()
        };
        assert_eq!(all("linux/amd64"), ["arm64"]);
        assert_eq!(all("linux/arm64"), ["arm64"]);

        assert_eq!(emulator("linux/amd64").unwrap(), None);
        assert_eq!(emulator("linux/x86_64/v3").unwrap(), None);
        for text in ["linux/arm64", "linux/aarch64", "linux/arm64/v8"] {
            let found = emulator(text).unwrap().unwrap();
            assert_eq!((found.architecture.as_str(), found.image.length_bytes), ("arm64", 4096));
        }
        for (text, told) in [
            ("windows/amd64", "machines run Linux"),
            ("linux/sparc64", "there are emulators of 386, arm"),
            ("linux/riscv64", "this installation has no emulator '"),
            ("linux/..", "there are emulators of"),
        ] {
            let error = emulator(text).unwrap_err();
            assert!(error.message.contains(told), "{text}: {}", error.message);
            assert_eq!(error.code, ErrorCode::Unsupported);
        }
    }
}

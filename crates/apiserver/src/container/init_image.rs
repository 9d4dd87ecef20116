//! `--init-image`: an initramfs around the vminitd of an image.

use std::path::{Path, PathBuf};

use bulkhead_api::container::{ContainerConfiguration, ImageDescription};
use bulkhead_api::error::{ApiError, ErrorCode};
use bulkhead_image_store::ResolvedImage;

use crate::error::{failed, invalid};
use crate::service::Service;

/// Where init images have it; the second for images whose /sbin is a link.
const PATHS: [&str; 2] = ["sbin/vminitd", "usr/sbin/vminitd"];
/// Ours has a few.
const MAXIMUM_BYTES: u64 = 64 << 20;

/// Refuses an image that has no vminitd, so that `create` says so and not the machine's time-out.
pub(super) fn check(
    service: &Service,
    description: &ImageDescription,
    image: &ResolvedImage,
) -> Result<(), ApiError> {
    program(service, &description.reference, image).map(drop)
}

/// The initramfs of the container, written anew for each start; `None` for that of this version.
pub(super) fn write(
    service: &Service,
    configuration: &ContainerConfiguration,
    directory: &Path,
) -> Result<Option<PathBuf>, ApiError> {
    let Some(description) = &configuration.init_image else { return Ok(None) };
    let image = service.images.resolved(description)?;
    let program = program(service, &description.reference, &image)?;
    let unusable = format!("image '{}' cannot be an init image", description.reference);
    let archive = bulkhead_initramfs::archive(&program).map_err(|error| failed(&unusable, &error))?;
    let path = directory.join("initramfs.cpio");
    std::fs::write(&path, archive)
        .and_then(|()| {
            // The machine monitor reads it as a user of its own.
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644))
        })
        .map_err(|error| failed(format!("cannot write '{}'", path.display()), &error))?;
    Ok(Some(path))
}

fn program(service: &Service, reference: &str, image: &ResolvedImage) -> Result<Vec<u8>, ApiError> {
    for path in PATHS {
        let Some(program) = service.images.file_content(reference, image, path, MAXIMUM_BYTES)? else {
            continue;
        };
        return match bulkhead_initramfs::check_program(&program) {
            Ok(()) => Ok(program),
            Err(error) => Err(ApiError::caused_by(
                ErrorCode::InvalidArgument,
                format!("image '{reference}' cannot be an init image: its /{path} is no init of a guest"),
                &error,
            )),
        };
    }
    Err(invalid(format!("image '{reference}' is no init image: it has no /{}", PATHS[0])))
}

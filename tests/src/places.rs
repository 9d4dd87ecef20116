//! Where data is that outlives a container.

use std::fs;

use crate::Installation;

/// Values of `-v` that put a volume, and a folder of the host, at `/data`. The folder is `host` of the installation's.
///
/// # Panics
/// The folder cannot be made.
#[track_caller]
#[must_use]
pub fn places(installation: &Installation) -> [String; 2] {
    let folder = installation.folder().join("host");
    fs::create_dir_all(&folder).expect("a folder to share");
    ["data:/data".to_owned(), format!("{}:/data", folder.to_str().expect("a path in UTF-8"))]
}

//! Image archives: `image load` and `image save`.
//!
//! An archive is an OCI layout in a tar (OCI image specification, "Image Layout"), or what `docker save` wrote before
//! it wrote that as well (moby's image specification 1.2). Its names are looked up, never used as paths.

mod docker;
mod error;
mod load;
mod names;
mod oci;
mod save;
mod spool;

pub use error::ArchiveError;
pub use load::LoadedImage;

//! Turns a layer's tar stream into an EROFS image for overlayfs.

mod convert;
mod decompress;
mod error;
mod limits;
mod path;
mod tree;

pub use convert::{ConvertedLayer, convert_layer, hash_layer};
pub use error::LayerError;
pub use limits::Limits;

pub(crate) use convert::OPAQUE_ROOT_LABEL;
pub(crate) use decompress::{decompress, sniff};
pub(crate) use tree::IMPLICIT_PERMISSIONS;

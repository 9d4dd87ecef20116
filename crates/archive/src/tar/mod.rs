//! Reads tar streams from strangers: ustar, GNU and PAX, sparse files included; writes PAX.
//!
//! The reader only describes what is in the stream; paths are not interpreted and nothing is created. Semantics
//! follow Go's `archive/tar`, which the tools that make images use. Format: POSIX.1-2017 `pax`, "Interchange
//! Format"; GNU tar manual, "Basic Tar Format" and "Storing Sparse Files".

mod error;
mod extended;
mod header;
mod number;
mod reader;
mod sparse;
mod writer;

pub use error::TarError;
pub use header::{Entry, Kind};
pub use reader::{Piece, Reader};
pub use sparse::{MAXIMUM_SEGMENTS, Segment};
pub use writer::Writer;

//! Content-addressed store of image blobs and their EROFS layers.
//!
//! ```text
//!  registry ──▶ pull ─┐                              ┌─▶ image()     configuration + EROFS files of one platform
//!                     ├─▶ blobs/ (as received) ──────┼─▶ variants()  what list and inspect show
//!  archive ──▶ load ──┘   layers/ (EROFS, by DiffID) └─▶ save        the same bytes again
//! ```
//!
//! A layer is converted while it arrives, checked against its digest, its size and its DiffID, synced and then
//! renamed into place: whatever has its name is complete. The compressed blob is kept beside it, because a saved or
//! pushed image must have the digests that its manifest names, and no recompression gives the same bytes.
//!
//! Names of images are not this crate's business: the daemon maps a [`bulkhead_oci::Reference`] to the
//! [`bulkhead_oci::Descriptor`] that [`Store::pull`] and [`Store::load_archive`] return, and tells a collection which
//! digests are still wanted. Until a name is recorded, a [`Lease`] protects the content.
//!
//! ```no_run
//! use bulkhead_image_store::{Limits, PullOptions, Store};
//! use bulkhead_oci::{Platform, Reference};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Store::open("/var/lib/bulkhead/images".as_ref(), Limits::default())?;
//! let reference: Reference = "localhost:5000/tool:1".parse()?;
//! let platform = Platform::host();
//! let pulled = store.pull(&reference, Some(&platform), PullOptions::default(), |_| {}).await?;
//! // … record reference and pulled.descriptor, then:
//! drop(pulled.lease);
//! let image = store.image(&pulled.descriptor.digest, &platform)?;
//! for layer in image.layers.iter() {
//!     println!("{} is {}", layer.diff_id, layer.path.display());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Everything but [`Store::pull`] and [`Store::push`] blocks; async callers use `spawn_blocking` for what is documented to.
//! Layers are the only thing ever created from an archive's content, as bytes of EROFS files: nothing of an image is
//! unpacked on the host.

mod archive;
mod collect;
mod compose;
mod documents;
mod download;
mod error;
mod files;
mod history;
mod ingest;
pub mod layer;
mod lease;
mod parents;
mod program;
mod progress;
mod pull;
mod push;
mod resolve;
mod store;
mod usage;
mod verify;

pub use bulkhead_archive::tar;

pub use archive::{ArchiveError, LoadedImage};
pub use collect::{Collected, Collection};
pub use compose::{ComposedImage, Composition, SpooledLayer};
pub use error::StoreError;
pub use history::Step;
pub use layer::Limits;
pub use lease::Lease;
pub use progress::ProgressEvent;
pub use pull::{PullOptions, PulledImage};
pub use push::{PushOptions, PushedImage};
pub use resolve::{LayerFile, ResolvedImage, Variant};
pub use store::{Store, StoreOptions};
pub use usage::ContentUsage;

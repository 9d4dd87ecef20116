//! Writes EROFS images in one pass, and looks things up in them.
//!
//! ```text
//! block 0                                                                          end of file
//! ┌────────────┬──────┬───────────┬──────┬───────────┬ ─ ─ ┬─────────────────┬─────────────────┐
//! │ superblock │ data │ inodes of │ data │ inodes of │     │ directory data  │ directory       │
//! │ root inode │      │ 64 blocks │      │ 64 blocks │     │ (full blocks)   │ inodes + tails  │
//! └────────────┴──────┴───────────┴──────┴───────────┴ ─ ─ ┴─────────────────┴─────────────────┘
//!   written last                                             written by `finish`
//! ```
//!
//! A file's full blocks go to the output as they arrive. Its inode follows together with its last, partial
//! block, packed with others of their kind, so that a small file costs its size plus 64 bytes. Only names,
//! directories and 16 bytes per file stay in memory until [`Writer::finish`] knows the whole tree.
//!
//! The same calls always make the same bytes: no clock, no random identifier. The images use 4 KiB blocks and
//! no compression, and none of the features that Linux before 5.4 or erofs-utils 1.5 would not know.
//! Layout: Documentation/filesystems/erofs.rst and fs/erofs/erofs_fs.h of the kernel.
//!
//! ```
//! use bulkhead_erofs::{Identity, Metadata, Writer};
//!
//! let image = tempfile::tempfile()?;
//! let mut writer = Writer::new(image)?;
//! let etc = writer.create_directory(Writer::ROOT, b"etc", Metadata::with_permissions(0o755))?;
//! let metadata = Metadata::with_permissions(0o644);
//! let mut file = writer.create_file(etc, b"hostname", &metadata)?;
//! file.write(b"bulkhead\n")?;
//! file.finish()?;
//! let summary = writer.finish(Identity::default())?;
//! assert_eq!(summary.length_bytes % 4096, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The crate knows neither tar nor overlayfs, and never creates anything but the bytes of its output.

mod attributes;
mod checksum;
mod directories;
mod error;
mod layout;
mod metadata;
mod output;
mod packing;
mod reader;
mod tree;
mod writer;

pub use attributes::{Attribute, is_storable};
pub use error::WriteError;
pub use layout::{BLOCK_BYTES, FileType};
pub use metadata::{Identity, Metadata, Special, Summary};
pub use reader::{Image, ReadError, Stat};
pub use tree::{DirectoryId, Found, NodeId};
pub use writer::{FileWriter, Writer};

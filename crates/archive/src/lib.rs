//! Tar streams of strangers, and file trees to and from them.
//!
//! ```text
//!  image layer ─▶ tar::Reader ─▶ image-store              nothing is created
//!
//!  tree ─▶ tree::read ─▶ tar::Writer ─▶ … ─▶ tar::Reader ─▶ tree::write ─▶ tree
//! ```
//!
//! The same code runs on both sides of `copy`: in the guest, where the tree is hostile, and on the host,
//! where the stream is. Names are looked up one directory at a time, from descriptors, and never through a
//! link that somebody else could have put there.

pub mod tar;
pub mod tree;

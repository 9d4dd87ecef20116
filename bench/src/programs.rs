//! The image with real programs that both tools run for folders and networks.

use std::path::PathBuf;

use anyhow::{Context, Result};

/// What xtask makes of `images/programs/packages`.
pub(crate) const IMAGE: &str = "programs:bench";

/// Its archive.
pub(crate) fn archive() -> Result<PathBuf> {
    std::env::var_os("BULKHEAD_BENCH_PROGRAMS")
        .map(PathBuf::from)
        .context("BULKHEAD_BENCH_PROGRAMS is not set: run `cargo xtask bench`")
}

//! Where things are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The checkout.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_owned()
}

/// The tree that looks like an installation: bin/, libexec/bulkhead/, share/bulkhead/.
pub(crate) fn install_tree() -> PathBuf {
    root().join(".bulkhead")
}

/// What is dear to make and keyed by its inputs; shared by all checkouts.
pub(crate) fn cache() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("BULKHEAD_CACHE") {
        return Ok(path.into());
    }
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))
        .context("set BULKHEAD_CACHE, XDG_CACHE_HOME or HOME")?;
    Ok(base.join("bulkhead"))
}

//! The daemon's log file.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Mutex;

use anyhow::Context;
use bulkhead_paths::environment;
use tracing_subscriber::EnvFilter;

/// Sends tracing to `apiserver.log`, filtered by `CONTAINER_LOG`.
pub(crate) fn start(log_root: &Path) -> anyhow::Result<()> {
    let path = log_root.join("apiserver.log");
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot open '{}'", path.display()))?;
    let filter = EnvFilter::try_from_env(environment::LOG).unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(Mutex::new(file))
        .try_init()
        .map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))?;
    // Release builds abort on panic; without this the reason would go to a closed stderr.
    std::panic::set_hook(Box::new(|information| tracing::error!("{information}")));
    Ok(())
}

//! Limits of this process and of the kernel that containers would run into.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const MAXIMUM_MAP_COUNT: &str = "/proc/sys/vm/max_map_count";
/// A guest page that cannot be merged with its neighbours is one mapping of the host under User-Mode
/// Linux: 4 GiB of scattered pages.
const WANTED_MAP_COUNT: u64 = 1_048_576;

/// Raises the soft limit of open files to the hard one; helpers inherit it.
pub(crate) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
    {
        tracing::warn!("cannot raise the limit of open files: {error}");
    }
}

/// Raises `vm.max_map_count` where we may; elsewhere the probe of the machine monitors gives advice.
pub(crate) fn raise_map_count() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let raised = || -> std::io::Result<Option<u64>> {
        let text = std::fs::read_to_string(MAXIMUM_MAP_COUNT)?;
        let current = text.trim().parse::<u64>().map_err(std::io::Error::other)?;
        if current >= WANTED_MAP_COUNT {
            return Ok(None);
        }
        std::fs::write(MAXIMUM_MAP_COUNT, WANTED_MAP_COUNT.to_string()).map(|()| Some(current))
    };
    match raised() {
        Ok(None) => {}
        Ok(Some(before)) => tracing::info!("raised vm.max_map_count from {before} to {WANTED_MAP_COUNT}"),
        Err(error) => tracing::warn!("cannot raise vm.max_map_count: {error}"),
    }
}

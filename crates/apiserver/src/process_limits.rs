//! Limits of this process and of the kernel that containers would run into.

use bulkhead_vmm::map_count;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit of open files to the hard one; helpers inherit it.
pub(crate) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
    {
        tracing::warn!("cannot raise the limit of open files: {error}");
    }
}

/// Raises `vm.max_map_count` where we may; elsewhere every start that it endangers warns of it.
pub(crate) fn raise_map_count() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    match map_count::raise() {
        Ok(None) => {}
        Ok(Some(before)) => {
            tracing::info!("raised vm.max_map_count from {before} to {}", map_count::wanted())
        }
        Err(error) => tracing::warn!("cannot raise vm.max_map_count: {error}"),
    }
}

//! What the mounts of a stopped container keep from its files.
//!
//! The machine for those has none of the mounts: volumes may be in use elsewhere, folders may be gone.
//! What is copied to where one belongs would lie below it, where the container never sees it.

use bulkhead_api::container::Mount;
use bulkhead_api::error::ApiError;
use bulkhead_runtime_control::BuiltIn;

use crate::error::{invalid_state, printable};

/// Refuses work on paths of mounts.
pub(super) fn check(id: &str, mounts: &[Mount], work: &BuiltIn) -> Result<(), ApiError> {
    for path in &paths(work) {
        let names = normalized(path);
        for mount in mounts {
            let destination = normalized(&mount.destination);
            let relation = if names.starts_with(&destination) {
                "is in"
            } else if destination.starts_with(&names) && takes_all_below(work, path) {
                "holds"
            } else {
                continue;
            };
            let (path, mount) = (printable(path), printable(&mount.destination));
            return Err(invalid_state(format!(
                "'{path}' {relation} the mount '{mount}' of container '{id}', which it only has while it runs: \
                 start it first (container start {id})"
            )));
        }
    }
    Ok(())
}

/// Every path that a work may name, as the user gave it.
fn paths(work: &BuiltIn) -> Vec<String> {
    match work {
        BuiltIn::PackTree { path, .. } => vec![path.clone()],
        BuiltIn::ExtractArchive { path, source_name, .. } if source_name.is_empty() => vec![path.clone()],
        // It goes into a directory by its name; whether there is one, only the guest knows.
        BuiltIn::ExtractArchive { path, source_name, contents_only, .. } => {
            let inner = (!contents_only).then(|| format!("{}/{source_name}", path.trim_end_matches('/')));
            [path.clone()].into_iter().chain(inner).collect()
        }
        // As with Docker, these are about the container's own files.
        BuiltIn::Export | BuiltIn::ListChanges | BuiltIn::ListProcesses => Vec::new(),
    }
}

/// Whether a work on a path is about everything below it. Most of what is written to a directory
/// with a mount in it goes elsewhere; a tree of that mount's name does not.
fn takes_all_below(work: &BuiltIn, path: &str) -> bool {
    match work {
        BuiltIn::PackTree { .. } => true,
        BuiltIn::ExtractArchive { path: directory, .. } => path != directory,
        BuiltIn::Export | BuiltIn::ListChanges | BuiltIn::ListProcesses => false,
    }
}

/// The names of an absolute path, without regard to links.
fn normalized(path: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use bulkhead_api::container::MountKind;

    use super::*;

    fn volumes(destinations: &[&str]) -> Vec<Mount> {
        let volume = |destination: &&str| Mount {
            kind: MountKind::volume("v"),
            source: String::new(),
            destination: (*destination).to_owned(),
            options: Vec::new(),
        };
        destinations.iter().map(volume).collect()
    }

    fn pack(path: &str) -> BuiltIn {
        BuiltIn::PackTree { path: path.to_owned(), follow_link: false, name: ".".to_owned() }
    }

    fn extract(path: &str, source_name: &str, contents_only: bool) -> BuiltIn {
        let (path, source_name) = (path.to_owned(), source_name.to_owned());
        let unpack = source_name.is_empty();
        BuiltIn::ExtractArchive { path, unpack, source_name, contents_only, keep_owner: false }
    }

    #[test]
    fn paths_in_and_trees_around_a_mount_are_refused() {
        let mounts = volumes(&["/srv/data/", "/m"]);
        let is_refused = |work: &BuiltIn| check("c", &mounts, work).is_err();
        for path in ["/srv/data", "/srv//data/k", "/x/../srv/./data/k", "/../m", "/srv", "/"] {
            assert!(is_refused(&pack(path)), "{path}");
        }
        for path in ["/srv/database", "/srv/data/..x/../../other", "/etc"] {
            assert!(!is_refused(&pack(path)), "{path}");
        }
        for (path, name) in [("/srv/data/new", "file"), ("/m", "file"), ("/srv/", "data"), ("/", "srv")] {
            assert!(is_refused(&extract(path, name, false)), "{path} {name}");
        }
        for (path, name) in [("/", "file"), ("/srv", "file"), ("/etc/m", "m")] {
            assert!(!is_refused(&extract(path, name, false)), "{path} {name}");
        }
        assert!(is_refused(&extract("/m/x", "", false)) && is_refused(&extract("/m", "m", true)));
        assert!(!is_refused(&extract("/", "", false)) && !is_refused(&extract("/", "m", true)));
        assert!(!is_refused(&BuiltIn::Export) && !is_refused(&BuiltIn::ListChanges));
    }
}

//! What of a stopped container's mounts the machine for its files has.
//!
//! Volumes and folders it has as the container does. Memory and sockets are only there while the container
//! runs: in their place is something empty that cannot be written, so that nothing lands below them, where the
//! container would never see it.

use bulkhead_api::container::{Mount, MountKind};
use bulkhead_api::error::ApiError;
use bulkhead_runtime_control::BuiltIn;

use super::mounts::{self, READ_ONLY, Source};
use crate::error::{invalid_state, printable};

/// The mounts of that machine.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Visible {
    pub(super) mounts: Vec<Mount>,
    /// Paths of files that cannot be read or written.
    pub(super) covered: Vec<String>,
}

impl Visible {
    /// What a work is to see.
    pub(super) fn of(mounts: &[Mount], work: &BuiltIn) -> Self {
        let mut visible = Self::default();
        match work {
            BuiltIn::PackTree { .. } | BuiltIn::ExtractArchive { .. } => {}
            // As with Docker, these are about the container's own files.
            BuiltIn::Export | BuiltIn::ListChanges | BuiltIn::ListProcesses | BuiltIn::FillVolumes => {
                return visible;
            }
        }
        for mount in mounts {
            let mut mount = mount.clone();
            match presence(&mount) {
                Presence::Always => {}
                Presence::Memory => mount.options.push(READ_ONLY.to_owned()),
                Presence::Socket => {
                    visible.covered.push(mount.destination);
                    continue;
                }
            }
            visible.mounts.push(mount);
        }
        visible
    }
}

/// When there is something in a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Always,
    Memory,
    Socket,
}

fn presence(mount: &Mount) -> Presence {
    match mount.kind {
        MountKind::Tmpfs {} => Presence::Memory,
        // What is not there is told by whoever wants to mount it.
        MountKind::Virtiofs {} if matches!(mounts::examine(&mount.source), Ok(Source::Socket)) => {
            Presence::Socket
        }
        MountKind::Virtiofs {} | MountKind::Volume { .. } => Presence::Always,
    }
}

/// Refuses work on paths of mounts that are only there while the container runs: before anything is done, and
/// with the reason.
pub(super) fn check(id: &str, mounts: &[Mount], work: &BuiltIn) -> Result<(), ApiError> {
    for path in &paths(work) {
        let names = normalized(path);
        for mount in mounts.iter().filter(|mount| presence(mount) != Presence::Always) {
            let destination = normalized(&mount.destination);
            let relation = if names.starts_with(&destination) {
                "is in"
            } else if destination.starts_with(&names) && replaces_all_below(work, path) {
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
        BuiltIn::Export | BuiltIn::ListChanges | BuiltIn::ListProcesses | BuiltIn::FillVolumes => Vec::new(),
    }
}

/// Whether a work on a path writes to everything below it. Most of what is written to a directory with a
/// mount in it goes elsewhere; a tree of that mount's name does not.
fn replaces_all_below(work: &BuiltIn, path: &str) -> bool {
    matches!(work, BuiltIn::ExtractArchive { path: directory, .. } if path != directory)
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
    use super::*;

    fn mount(kind: MountKind, source: &str, destination: &str) -> Mount {
        let (source, destination) = (source.to_owned(), destination.to_owned());
        Mount { kind, source, destination, options: Vec::new() }
    }

    fn memory(destinations: &[&str]) -> Vec<Mount> {
        destinations.iter().map(|destination| mount(MountKind::Tmpfs {}, "", destination)).collect()
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
    fn paths_in_memory_and_trees_over_it_are_refused() {
        let mounts = memory(&["/srv/data/", "/m"]);
        let is_refused = |work: &BuiltIn| check("c", &mounts, work).is_err();
        for path in ["/srv/data", "/srv//data/k", "/x/../srv/./data/k", "/../m"] {
            assert!(is_refused(&pack(path)), "{path}");
        }
        for path in ["/srv/database", "/srv/data/..x/../../other", "/etc", "/srv", "/"] {
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

    #[test]
    fn volumes_and_folders_are_there_and_the_rest_cannot_be_written() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("x.sock");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let mounts = [
            mount(MountKind::volume("v"), "", "/v"),
            mount(MountKind::Virtiofs {}, place.path().to_str().unwrap(), "/f"),
            mount(MountKind::Virtiofs {}, path.to_str().unwrap(), "/run/x.sock"),
            mount(MountKind::Virtiofs {}, "/missing/for/sure", "/gone"),
            mount(MountKind::Tmpfs {}, "", "/m"),
        ];
        let visible = Visible::of(&mounts, &pack("/"));
        let shown: Vec<_> =
            visible.mounts.iter().map(|one| (one.destination.as_str(), one.options.len())).collect();
        assert_eq!(shown, [("/v", 0), ("/f", 0), ("/gone", 0), ("/m", 1)]);
        assert_eq!(visible.covered, ["/run/x.sock"]);
        assert_eq!(Visible::of(&mounts, &BuiltIn::Export), Visible::default());
        for path in ["/v/x", "/f", "/gone/x"] {
            assert!(check("c", &mounts, &pack(path)).is_ok(), "{path}");
        }
        assert!(check("c", &mounts, &extract("/run/x.sock", "x.sock", false)).is_err());
    }
}

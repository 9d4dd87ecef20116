//! What of a stopped container's mounts the machine for its files has.
//!
//! Volumes and folders it has as the container does. Memory and sockets are only there while the container
//! runs, the disk of a volume is elsewhere while another container runs with it, and folders may be gone: in
//! their place is something empty that cannot be written, so that nothing lands below them, where the container
//! would never see it, and all else can be copied. The guest does not let memory be written either once
//! everything that may be below it is mounted.

use bulkhead_api::container::{Mount, MountKind};
use bulkhead_api::error::ApiError;
use bulkhead_runtime_control::{BuiltIn, CoveredPath};

use super::mounts::{self, READ_ONLY, Source};
use super::paths::normalized;
use crate::error::{invalid_state, printable};
use crate::volume::{Holder, Purpose};

/// The mounts of that machine.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Visible {
    pub(super) mounts: Vec<Mount>,
    /// Where something empty is that cannot be written.
    pub(super) covered: Vec<CoveredPath>,
}

impl Visible {
    /// What a work of a container is to see. `holder` names the container that has a volume's disk.
    pub(super) fn of(
        id: &str,
        mounts: &[Mount],
        holder: impl Fn(&str) -> Option<Holder>,
        work: &BuiltIn,
    ) -> Self {
        let mut visible = Self::default();
        match work {
            BuiltIn::PackTree { .. } | BuiltIn::ExtractArchive { .. } => {}
            // As with Docker, these are about the container's own files.
            BuiltIn::Export
            | BuiltIn::ListChanges
            | BuiltIn::PackChanges { .. }
            | BuiltIn::ListProcesses
            | BuiltIn::FillVolumes => {
                return visible;
            }
        }
        for mount in mounts {
            let mut mount = mount.clone();
            match presence(id, &mount, &holder) {
                Presence::Always => {}
                // What is mounted below it needs a place there.
                Presence::Memory => mount.options.retain(|option| option != READ_ONLY),
                presence @ (Presence::Socket | Presence::Elsewhere(_) | Presence::Gone(_)) => {
                    // What is gone was a directory most likely.
                    let is_directory = presence != Presence::Socket;
                    visible.covered.push(CoveredPath { path: mount.destination, is_directory });
                    continue;
                }
            }
            visible.mounts.push(mount);
        }
        visible
    }
}

/// When there is something in a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Presence {
    Always,
    Memory,
    Socket,
    /// The disk of a volume that this container has.
    Elsewhere(Holder),
    /// Nothing of the host can be shared, for this reason.
    Gone(String),
}

fn presence(id: &str, mount: &Mount, holder: &impl Fn(&str) -> Option<Holder>) -> Presence {
    match &mount.kind {
        MountKind::Tmpfs {} => Presence::Memory,
        MountKind::Virtiofs {} => match mounts::examine(&mount.source) {
            Ok(Source::Socket) => Presence::Socket,
            Ok(Source::Directory | Source::File) => Presence::Always,
            Err(error) => Presence::Gone(error.message),
        },
        MountKind::Volume { name, .. } => match holder(name).filter(|holder| holder.container != id) {
            Some(other) => Presence::Elsewhere(other),
            None => Presence::Always,
        },
    }
}

/// Refuses work on paths of mounts that are not there now: before anything is done, and with the reason.
pub(super) fn check(
    id: &str,
    mounts: &[Mount],
    holder: impl Fn(&str) -> Option<Holder>,
    work: &BuiltIn,
) -> Result<(), ApiError> {
    for path in &paths(work) {
        let names = normalized(path);
        let destinations: Vec<_> =
            mounts.iter().map(|mount| (mount, normalized(&mount.destination))).collect();
        // What is mounted below another is not in that.
        let deepest = destinations
            .iter()
            .filter(|(_, destination)| names.starts_with(destination))
            .max_by_key(|(_, destination)| destination.len())
            .map(|(mount, _)| (*mount, "is in"));
        let below = destinations
            .iter()
            .filter(|(_, destination)| destination.len() > names.len() && destination.starts_with(&names))
            .filter(|_| replaces_all_below(work, path))
            .map(|(mount, _)| (*mount, "holds"));
        for (mount, relation) in deepest.into_iter().chain(below) {
            let presence = presence(id, mount, &holder);
            let reason = match (presence, &mount.kind) {
                (Presence::Always, _) => continue,
                (Presence::Elsewhere(Holder { container, purpose }), MountKind::Volume { name, .. }) => {
                    match purpose {
                        Purpose::Run => format!(
                            ": volume '{name}' is in use by container '{container}', stop that one first (container stop {container})"
                        ),
                        Purpose::Copy => format!(
                            ": volume '{name}' is being copied from, or to, with container '{container}', try again when that is done"
                        ),
                    }
                }
                (Presence::Gone(reason), _) => format!(": {reason}"),
                _ => format!(", which it only has while it runs: start it first (container start {id})"),
            };
            let (path, mount) = (printable(path), printable(&mount.destination));
            return Err(invalid_state(format!(
                "'{path}' {relation} the mount '{mount}' of container '{id}'{reason}"
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
        BuiltIn::Export
        | BuiltIn::ListChanges
        | BuiltIn::PackChanges { .. }
        | BuiltIn::ListProcesses
        | BuiltIn::FillVolumes => Vec::new(),
    }
}

/// Whether a work on a path writes to everything below it. Most of what is written to a directory with a
/// mount in it goes elsewhere; a tree of that mount's name does not.
fn replaces_all_below(work: &BuiltIn, path: &str) -> bool {
    matches!(work, BuiltIn::ExtractArchive { path: directory, .. } if path != directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(kind: MountKind, source: &str, destination: &str) -> Mount {
        let (source, destination) = (source.to_owned(), destination.to_owned());
        Mount { kind, source, destination, options: Vec::new() }
    }

    fn nobody(_: &str) -> Option<Holder> {
        None
    }

    fn memory(destinations: &[&str]) -> Vec<Mount> {
        destinations.iter().map(|destination| mount(MountKind::Tmpfs {}, "", destination)).collect()
    }

    fn covered(path: &str, is_directory: bool) -> CoveredPath {
        CoveredPath { path: path.to_owned(), is_directory }
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
        let is_refused = |work: &BuiltIn| check("c", &mounts, nobody, work).is_err();
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
        let visible = Visible::of("c", &mounts, nobody, &pack("/"));
        let shown: Vec<_> =
            visible.mounts.iter().map(|one| (one.destination.as_str(), one.options.len())).collect();
        assert_eq!(shown, [("/v", 0), ("/f", 0), ("/m", 0)]);
        assert_eq!(visible.covered, [covered("/run/x.sock", false), covered("/gone", true)]);
        assert_eq!(Visible::of("c", &mounts, nobody, &BuiltIn::Export), Visible::default());
        for path in ["/v/x", "/f", "/"] {
            assert!(check("c", &mounts, nobody, &pack(path)).is_ok(), "{path}");
        }
        assert!(check("c", &mounts, nobody, &extract("/run/x.sock", "x.sock", false)).is_err());
        let refusal = check("c", &mounts, nobody, &pack("/gone/x")).unwrap_err();
        assert!(refusal.to_string().contains("no '/missing/for/sure' on the host"), "{refusal}");
    }

    #[test]
    fn what_is_mounted_below_memory_is_not_in_it() {
        let mut mounts = memory(&["/run"]);
        mounts[0].options.push("ro".to_owned());
        mounts.push(mount(MountKind::volume("v"), "", "/run/db"));
        let visible = Visible::of("c", &mounts, nobody, &pack("/"));
        assert_eq!((visible.mounts[0].options.len(), visible.mounts.len()), (0, 2));
        for order in [[0, 1], [1, 0]] {
            let mounts = order.map(|place| mounts[place].clone());
            assert!(check("c", &mounts, nobody, &pack("/run/db/file")).is_ok());
            assert!(check("c", &mounts, nobody, &extract("/run/db", "file", false)).is_ok());
            assert!(check("c", &mounts, nobody, &pack("/run/other")).is_err());
        }
        // A tree of that name goes to the memory as well.
        assert!(check("c", &mounts, nobody, &extract("/", "run", false)).is_err());
    }

    #[test]
    fn a_volume_that_another_container_has_is_covered() {
        let mounts = [mount(MountKind::volume("v"), "", "/v"), mount(MountKind::volume("w"), "", "/w")];
        let held = |name: &str, purpose| {
            let container = if name == "v" { "other" } else { "c" }.to_owned();
            Some(Holder { container, purpose })
        };
        let holder = |name: &str| held(name, Purpose::Run);
        let visible = Visible::of("c", &mounts, holder, &pack("/"));
        assert_eq!(
            (visible.mounts.as_slice(), visible.covered.as_slice()),
            (&mounts[1..], &[covered("/v", true)][..])
        );
        let refusal = check("c", &mounts, holder, &pack("/v/file")).unwrap_err();
        assert!(refusal.to_string().contains("in use by container 'other'"), "{refusal}");
        let refusal = check("c", &mounts, |name: &str| held(name, Purpose::Copy), &pack("/v")).unwrap_err();
        assert!(refusal.to_string().contains("is being copied"), "{refusal}");
        assert!(check("c", &mounts, holder, &pack("/w/file")).is_ok());
        assert!(check("c", &mounts, holder, &pack("/etc")).is_ok());
    }
}

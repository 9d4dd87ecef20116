//! What a container's mounts are to its helper and guest.

use std::collections::HashSet;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use bulkhead_api::container::{Mount, MountKind};
use bulkhead_api::error::ApiError;
use bulkhead_paths::Directories;
use bulkhead_runtime_control::{
    Backing, HostSocket, HostSocketSource, MountSpecification, SharedFolder, VolumeDisk,
};

use bulkhead_subordinate_ids::SubordinateIds;
use rustix::fs::{Access, AtFlags, CWD};

use super::paths;
use crate::error::{failed, invalid, not_found};
use crate::service::Service;
use crate::volume::MountedVolume;

/// Volumes are no place for devices; set-id programs do what they do elsewhere, for a volume may hold
/// whole roots of further containers. Blocks that a file system frees go back to the host.
const VOLUME_OPTIONS: [&str; 2] = ["nodev", "discard"];

/// The disks of these volumes, for [`arrange`] of the same.
pub(super) fn disks(service: &Service, volumes: &[MountedVolume]) -> Vec<VolumeDisk> {
    let disk = |volume: &MountedVolume| VolumeDisk {
        name: volume.name.clone(),
        path: service.directories.volume_disk(&volume.name),
        read_only: volume.read_only,
    };
    volumes.iter().filter(|volume| !volume.shared).map(disk).collect()
}

/// As of [`VOLUME_OPTIONS`].
const SHARED_OPTIONS: [&str; 1] = ["nodev"];

/// Of folders of the host: whoever can write there must not be able to give rights in the guest.
const FOLDER_OPTIONS: [&str; 2] = ["nodev", "nosuid"];
/// Docker's word for a container that may lag behind the host.
const RELAXED: &str = "cached";
/// Docker's word for a volume that does not take what the image has in its place.
const NO_COPY: &str = "nocopy";
pub(super) const READ_ONLY: &str = "ro";

/// A container's mounts, as its helper and guest get them.
#[derive(Debug, Default)]
pub(super) struct Arranged {
    /// Parents before what is mounted below them, else as the user has them.
    pub(super) mounts: Vec<MountSpecification>,
    /// What of the host's files the guest may see.
    pub(super) folders: Vec<SharedFolder>,
    /// Mounted after all others.
    pub(super) sockets: Vec<HostSocket>,
}

/// Sorts out what is to be mounted.
pub(super) fn arrange(
    directories: &Directories,
    mounts: &[Mount],
    volumes: &[MountedVolume],
) -> Result<Arranged, ApiError> {
    let mut arranged = Arranged::default();
    for mount in sorted(mounts) {
        let (path, source) = match shared_volume(mount, volumes) {
            Some(volume) => (directories.volume_content(&volume.name), Source::Directory),
            None if matches!(mount.kind, MountKind::Virtiofs {}) => {
                ((&mount.source).into(), examine(&mount.source)?)
            }
            None => {
                arranged.mounts.push(specification(mount, volumes, None));
                continue;
            }
        };
        if source == Source::Socket {
            let container_path = mount.destination.clone();
            arranged.sockets.push(HostSocket { container_path, source: HostSocketSource::Mount(path) });
            continue;
        }
        let backing = Backing::Folder(arranged.folders.len());
        let mut specification = specification(mount, volumes, Some(backing));
        specification.fill_lock = match &mount.kind {
            MountKind::Volume { name, .. } if specification.fill.is_some() => {
                Some(directories.volume_filling_lock(name))
            }
            _ => None,
        };
        arranged.mounts.push(specification);
        arranged.folders.push(SharedFolder {
            path,
            is_file: source == Source::File,
            read_only: is_read_only(mount),
            relaxed: mount.options.iter().any(|option| option == RELAXED),
        });
    }
    Ok(arranged)
}

/// What of the host can be shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Directory,
    File,
    Socket,
}

/// Whether a path of the host can be shared, and as what.
pub(super) fn examine(source: &str) -> Result<Source, ApiError> {
    let shown = source.escape_default();
    if !Path::new(source).is_absolute() || source.contains('\0') {
        return Err(invalid(format!("'{shown}' is not an absolute path of the host")));
    }
    let kind = match std::fs::metadata(source) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(not_found(format!("there is no '{shown}' on the host"))
                .with_hint(format!("Make it first: mkdir -p '{shown}'")));
        }
        Err(error) => return Err(failed(format!("cannot share '{shown}'"), &error)),
    };
    match kind {
        kind if kind.is_dir() => {
            expect_access(source, Access::READ_OK | Access::EXEC_OK, "enter")?;
            Ok(Source::Directory)
        }
        kind if kind.is_file() => {
            expect_access(source, Access::READ_OK, "read")?;
            Ok(Source::File)
        }
        kind if kind.is_socket() => Ok(Source::Socket),
        _ => Err(invalid(format!(
            "'{shown}' is neither a directory, a regular file nor a socket: it cannot be shared"
        ))),
    }
}

/// The file server of an ordinary user has no other rights than the user, and those over files of his subordinate ids.
fn expect_access(source: &str, access: Access, verb: &str) -> Result<(), ApiError> {
    let Err(error) = rustix::fs::accessat(CWD, source, access, AtFlags::EACCESS) else { return Ok(()) };
    let (user, status) = (rustix::process::geteuid().as_raw(), std::fs::metadata(source));
    let is_held = |status: std::fs::Metadata| {
        SubordinateIds::of_this_user().is_ok_and(|ids| ids.hold(status.uid(), status.gid()))
    };
    if status.is_ok_and(is_held) {
        return Ok(());
    }
    let message = format!("cannot share '{}': user {user} may not {verb} it", source.escape_default());
    Err(failed(message, &std::io::Error::from(error)))
}

/// Refuses two mounts at one place: nobody would see the first. Of what comes from others, one was chosen before.
pub(super) fn expect_disjoint(mounts: &[Mount]) -> Result<(), ApiError> {
    let mut places = HashSet::new();
    match mounts.iter().find(|mount| !places.insert(paths::normalized(&mount.destination))) {
        None => Ok(()),
        Some(mount) => {
            let place = mount.destination.escape_default();
            Err(invalid(format!("duplicate mount point '{place}': mount one thing there")))
        }
    }
}

fn shared_volume<'a>(mount: &Mount, volumes: &'a [MountedVolume]) -> Option<&'a MountedVolume> {
    let MountKind::Volume { name, .. } = &mount.kind else { return None };
    volumes.iter().find(|volume| volume.shared && volume.name == *name)
}

fn sorted(mounts: &[Mount]) -> Vec<&Mount> {
    let mut ordered: Vec<&Mount> = mounts.iter().collect();
    ordered.sort_by_key(|mount| depth(&mount.destination));
    ordered
}

/// Whether the machine may end without writing back: nothing that outlives the container is mounted.
pub(super) fn outlive_nothing(mounts: &[Mount]) -> bool {
    mounts.iter().all(|mount| matches!(mount.kind, MountKind::Tmpfs {}))
}

fn depth(path: &str) -> usize {
    path.split('/').filter(|name| !name.is_empty()).count()
}

/// `folder` is the shared folder that it shows, if any.
fn specification(mount: &Mount, volumes: &[MountedVolume], folder: Option<Backing>) -> MountSpecification {
    let (kind, mut options, backing) = match &mount.kind {
        MountKind::Tmpfs {} => ("tmpfs", Vec::new(), None),
        MountKind::Virtiofs {} => ("virtiofs", FOLDER_OPTIONS.map(str::to_owned).into(), folder),
        MountKind::Volume { .. } if folder.is_some() => {
            ("virtiofs", SHARED_OPTIONS.map(str::to_owned).into(), folder)
        }
        MountKind::Volume { name, .. } => {
            let mut disks = volumes.iter().filter(|volume| !volume.shared);
            let index = disks.clone().position(|volume| volume.name == *name);
            let journal = index.and_then(|index| disks.nth(index)?.journal_option.clone());
            let options = VOLUME_OPTIONS.map(str::to_owned).into_iter().chain(journal).collect();
            ("ext4", options, index.map(Backing::Volume))
        }
    };
    // For us alone.
    let ours = |option: &&String| *option == NO_COPY || *option == RELAXED;
    options.extend(mount.options.iter().filter(|option| !ours(option)).cloned());
    let source = if mount.source.is_empty() { kind } else { &mount.source };
    MountSpecification {
        kind: kind.to_owned(),
        source: source.to_owned(),
        backing,
        destination: mount.destination.clone(),
        options,
        fill: filled(mount, volumes).filter(|_| !is_read_only(mount)),
        fill_lock: None,
        no_copy: is_bare(mount),
    }
}

/// Volumes that only read-only mounts would fill, as mounts that can: a machine of its own does it, whose
/// programs are ours.
pub(super) fn to_be_filled_first(mounts: &[Mount], volumes: &[MountedVolume]) -> Vec<Mount> {
    let mut chosen: Vec<Mount> = Vec::new();
    for mount in mounts {
        let read_only = volumes.iter().any(|volume| volume.read_only && is_of(mount, volume));
        let is_chosen = chosen.iter().any(|other| other.kind == mount.kind);
        if read_only && !is_chosen && !is_bare(mount) && filled(mount, volumes).is_some() {
            let options = mount.options.iter().filter(|option| *option != READ_ONLY).cloned().collect();
            chosen.push(Mount { options, ..mount.clone() });
        }
    }
    chosen
}

/// Where it is noted that the volume of a mount holds something, if that is not so already.
fn filled(mount: &Mount, volumes: &[MountedVolume]) -> Option<PathBuf> {
    volumes.iter().find(|volume| is_of(mount, volume))?.fill.clone()
}

/// Whether the volume is not to take what the image has.
fn is_bare(mount: &Mount) -> bool {
    mount.options.iter().any(|option| option == NO_COPY)
}

fn is_of(mount: &Mount, volume: &MountedVolume) -> bool {
    matches!(&mount.kind, MountKind::Volume { name, .. } if *name == volume.name)
}

/// Whether a mount may not be written.
pub(super) fn is_read_only(mount: &Mount) -> bool {
    mount.options.iter().any(|option| option == READ_ONLY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(kind: MountKind, destination: &str) -> Mount {
        let source = "/host".to_owned();
        Mount { kind, source, destination: destination.to_owned(), options: vec!["ro".to_owned()] }
    }

    fn directories() -> Directories {
        crate::service::testing::directories(Path::new("/state"))
    }

    fn arranged(mounts: &[Mount], volumes: &[MountedVolume]) -> Arranged {
        arrange(&directories(), mounts, volumes).unwrap()
    }

    #[test]
    fn parents_come_first_and_volumes_are_numbered() {
        let mounts = [
            mount(MountKind::volume("b"), "/data/deep"),
            mount(MountKind::Tmpfs {}, "/data/"),
            mount(MountKind::volume("a"), "/a"),
        ];
        let volume = |name: &str| MountedVolume {
            name: name.to_owned(),
            read_only: true,
            journal_option: Some("data=journal".to_owned()),
            shared: false,
            fill: None,
        };
        let ordered = arranged(&mounts, &[volume("b"), volume("a")]).mounts;
        let shown: Vec<_> = ordered.iter().map(|one| (one.destination.as_str(), one.backing)).collect();
        let (first, second) = (Some(Backing::Volume(0)), Some(Backing::Volume(1)));
        assert_eq!(shown, [("/data/", None), ("/a", second), ("/data/deep", first)]);
        assert_eq!(ordered[1].options, ["nodev", "discard", "data=journal", "ro"]);
        assert!(!outlive_nothing(&mounts));
        assert!(outlive_nothing(&mounts[1..2]));
    }

    #[test]
    fn folders_are_numbered_in_the_order_of_their_mounts() {
        let folder = |source: &str, destination: &str| Mount {
            source: source.to_owned(),
            ..mount(MountKind::Virtiofs {}, destination)
        };
        let mounts = [folder("/dev", "/a/b"), folder("/", "/c"), mount(MountKind::Tmpfs {}, "/t")];
        let Arranged { mounts, folders, .. } = arranged(&mounts, &[]);
        assert_eq!(
            (folders[0].path.as_path(), folders[1].path.as_path()),
            (Path::new("/"), Path::new("/dev"))
        );
        let backing: Vec<_> = mounts.iter().map(|one| one.backing).collect();
        assert_eq!(backing, [Some(Backing::Folder(0)), None, Some(Backing::Folder(1))]);
    }

    #[test]
    fn shared_volumes_are_folders_and_no_disks() {
        let volume = |name: &str, shared| MountedVolume {
            name: name.to_owned(),
            read_only: false,
            journal_option: None,
            shared,
            fill: None,
        };
        let mounts = [
            mount(MountKind::volume("s"), "/s"),
            mount(MountKind::Virtiofs {}, "/f"),
            mount(MountKind::volume("d"), "/d"),
        ];
        let mounts = mounts.map(|mount| Mount { source: "/".to_owned(), ..mount });
        let volumes = [volume("s", true), volume("d", false)];
        let Arranged { mounts, folders, .. } = arranged(&mounts, &volumes);
        assert_eq!(folders[0].path, directories().volume_content("s"));
        assert!(folders[0].read_only && !folders[0].is_file);
        assert_eq!(folders[1].path, Path::new("/"));
        let backing: Vec<_> = mounts.iter().map(|one| one.backing).collect();
        assert_eq!(backing, [Some(Backing::Folder(0)), Some(Backing::Folder(1)), Some(Backing::Volume(0))]);
    }

    #[test]
    fn new_volumes_are_filled_by_mounts_that_can_write() {
        let volume = |name: &str, read_only, is_new: bool| MountedVolume {
            name: name.to_owned(),
            read_only,
            journal_option: None,
            shared: name == "shared",
            fill: is_new.then(|| directories().volume_filled(name)),
        };
        let with = |name: &str, destination: &str, options: &[&str]| Mount {
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            ..mount(MountKind::volume(name), destination)
        };
        let mounts = [
            with("new", "/a", &[]),
            with("new", "/b", &["ro"]),
            with("old", "/c", &[]),
            with("bare", "/d", &["nocopy"]),
            with("shared", "/e", &["ro", "noexec"]),
            with("shared", "/f", &["ro"]),
        ];
        let volumes = [
            volume("new", false, true),
            volume("old", false, false),
            volume("bare", false, true),
            volume("shared", true, true),
        ];
        let arranged = arranged(&mounts, &volumes).mounts;
        let filled: Vec<_> = arranged.iter().filter(|one| one.fill.is_some()).collect();
        let shown: Vec<_> = filled.iter().map(|one| (one.destination.as_str(), one.no_copy)).collect();
        // What is written there counts as well.
        assert_eq!(shown, [("/a", false), ("/d", true)]);
        assert_eq!(filled[0].fill, Some(directories().volume_filled("new")));
        let first = to_be_filled_first(&mounts, &volumes);
        assert_eq!(first, [with("shared", "/e", &["noexec"])]);
    }

    #[test]
    fn sockets_are_no_folders() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("x.sock");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let share = |source: &Path, destination: &str| Mount {
            source: source.to_str().unwrap().to_owned(),
            ..mount(MountKind::Virtiofs {}, destination)
        };
        let mounts = [share(&path, "/run/x.sock"), share(place.path(), "/a/b/c")];
        let Arranged { mounts, folders, sockets } = arranged(&mounts, &[]);
        assert_eq!((mounts.len(), folders.len()), (1, 1));
        assert_eq!(mounts[0].backing, Some(Backing::Folder(0)));
        let source = HostSocketSource::Mount(path);
        assert_eq!(sockets, [HostSocket { container_path: "/run/x.sock".to_owned(), source }]);
    }

    #[test]
    fn f59_only_directories_files_and_sockets_are_shared() {
        assert_eq!(examine("/").unwrap(), Source::Directory);
        assert_eq!(examine("/proc/self/exe").unwrap(), Source::File);
        for source in ["/dev/null", "relative", "/missing/for/sure", "/a\0"] {
            assert!(examine(source).is_err(), "{source:?}");
        }
    }
}

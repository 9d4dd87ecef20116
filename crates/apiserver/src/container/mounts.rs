//! What a container's mounts are to its helper and guest.

use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use bulkhead_api::container::{Mount, MountKind};
use bulkhead_api::error::ApiError;
use bulkhead_runtime_control::{Backing, MountSpecification, SharedFolder, VolumeDisk};

use crate::error::{failed, invalid, not_found, unsupported};
use crate::service::Service;
use crate::volume::MountedVolume;

/// Volumes are no place for devices; set-id programs do what they do elsewhere, for a volume may hold
/// whole roots of further containers. Blocks that a file system frees go back to the host.
const VOLUME_OPTIONS: [&str; 2] = ["nodev", "discard"];

/// The disks of these volumes, for [`in_order`] of the same.
pub(super) fn disks(service: &Service, volumes: &[MountedVolume]) -> Vec<VolumeDisk> {
    let disk = |volume: &MountedVolume| VolumeDisk {
        name: volume.name.clone(),
        path: service.directories.volume_disk(&volume.name),
        read_only: volume.read_only,
    };
    volumes.iter().map(disk).collect()
}

/// Of folders of the host: whoever can write there must not be able to give rights in the guest.
const FOLDER_OPTIONS: [&str; 2] = ["nodev", "nosuid"];
/// Docker's word for a container that may lag behind the host.
const RELAXED: &str = "cached";

/// What of the host's files the guest may see, in the order of [`in_order`].
pub(super) fn folders(mounts: &[Mount]) -> Result<Vec<SharedFolder>, ApiError> {
    let folder = |mount: &&Mount| {
        Ok(SharedFolder {
            path: (&mount.source).into(),
            is_file: examine(&mount.source)?,
            read_only: mount.options.iter().any(|option| option == "ro"),
            relaxed: mount.options.iter().any(|option| option == RELAXED),
        })
    };
    sorted(mounts).iter().filter(|mount| is_folder(mount)).map(folder).collect()
}

/// Whether a path of the host can be shared, and is a file.
pub(super) fn examine(source: &str) -> Result<bool, ApiError> {
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
    if kind.is_socket() {
        return Err(unsupported(format!("'{shown}' is a socket, which cannot be shared"))
            .with_hint("A socket of the container is offered on the host by --publish-socket."));
    }
    if kind.is_dir() || kind.is_file() {
        return Ok(kind.is_file());
    }
    Err(invalid(format!("'{shown}' is neither a directory nor a regular file: it cannot be shared")))
}

fn is_folder(mount: &Mount) -> bool {
    matches!(mount.kind, MountKind::Virtiofs {})
}

/// Parents before what is mounted below them, else as the user has them.
pub(super) fn in_order(mounts: &[Mount], volumes: &[MountedVolume]) -> Vec<MountSpecification> {
    let mut folders = 0;
    let specify = |mount: &Mount| {
        let folder = folders;
        folders += usize::from(is_folder(mount));
        specification(mount, volumes, folder)
    };
    sorted(mounts).into_iter().map(specify).collect()
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

fn specification(mount: &Mount, volumes: &[MountedVolume], folder: usize) -> MountSpecification {
    let (kind, mut options, backing) = match &mount.kind {
        MountKind::Tmpfs {} => ("tmpfs", Vec::new(), None),
        MountKind::Virtiofs {} => {
            ("virtiofs", FOLDER_OPTIONS.map(str::to_owned).into(), Some(Backing::Folder(folder)))
        }
        MountKind::Volume { name, .. } => {
            let index = volumes.iter().position(|volume| volume.name == *name);
            let journal = index.and_then(|index| volumes[index].journal_option.clone());
            let options = VOLUME_OPTIONS.map(str::to_owned).into_iter().chain(journal).collect();
            ("ext4", options, index.map(Backing::Volume))
        }
    };
    // For us alone.
    let ours = |option: &&String| *option == "nocopy" || *option == RELAXED;
    options.extend(mount.options.iter().filter(|option| !ours(option)).cloned());
    let source = if mount.source.is_empty() { kind } else { &mount.source };
    MountSpecification {
        kind: kind.to_owned(),
        source: source.to_owned(),
        backing,
        destination: mount.destination.clone(),
        options,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(kind: MountKind, destination: &str) -> Mount {
        let source = "/host".to_owned();
        Mount { kind, source, destination: destination.to_owned(), options: vec!["ro".to_owned()] }
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
        };
        let ordered = in_order(&mounts, &[volume("b"), volume("a")]);
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
        let shared = folders(&mounts).unwrap();
        assert_eq!((shared[0].path.as_path(), shared[1].path.as_path()), (Path::new("/"), Path::new("/dev")));
        let backing: Vec<_> = in_order(&mounts, &[]).iter().map(|one| one.backing).collect();
        assert_eq!(backing, [Some(Backing::Folder(0)), None, Some(Backing::Folder(1))]);
    }

    #[test]
    fn f59_only_directories_and_files_are_shared() {
        assert!(!examine("/").unwrap());
        assert!(examine("/proc/self/exe").unwrap());
        for source in ["/dev/null", "relative", "/missing/for/sure", "/a\0"] {
            assert!(examine(source).is_err(), "{source:?}");
        }
    }
}

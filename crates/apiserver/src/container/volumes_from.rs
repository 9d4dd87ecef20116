//! Volumes and folders that a new container takes over from others.

use bulkhead_api::container::{Mount, MountKind};
use bulkhead_api::error::ApiError;
use bulkhead_api::request::VolumesFrom;

use super::mounts::READ_ONLY;
use super::paths;

/// Docker's word for the opposite.
const WRITABLE: &str = "rw";

/// Adds what the others have. Its own mounts win, then those of the container that is named last. Of volumes
/// only those of others have a source: so they are told apart when the container gets them.
pub(crate) fn inherit(
    mut own: Vec<Mount>,
    others: &[VolumesFrom],
    mounts_of: impl Fn(&str) -> Result<Vec<Mount>, ApiError>,
) -> Result<Vec<Mount>, ApiError> {
    for mount in &mut own {
        if let MountKind::Volume { anonymous, .. } = &mut mount.kind {
            *anonymous = false;
            mount.source.clear();
        }
    }
    let mut inherited: Vec<Mount> = Vec::new();
    for other in others {
        for mut mount in mounts_of(&other.id)? {
            // Memory is of one container.
            if matches!(mount.kind, MountKind::Tmpfs {}) {
                continue;
            }
            if other.read_only && !mount.options.iter().any(|option| option == READ_ONLY) {
                mount.options.retain(|option| option != WRITABLE);
                mount.options.push(READ_ONLY.to_owned());
            }
            inherited.retain(|earlier| !is_same_place(earlier, &mount));
            inherited.push(mount);
        }
    }
    inherited.retain(|mount| !own.iter().any(|wanted| is_same_place(wanted, mount)));
    Ok([own, inherited].concat())
}

fn is_same_place(one: &Mount, other: &Mount) -> bool {
    paths::normalized(&one.destination) == paths::normalized(&other.destination)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(kind: MountKind, destination: &str, options: &[&str]) -> Mount {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        Mount { kind, source: String::new(), destination: destination.to_owned(), options }
    }

    fn from(id: &str, read_only: bool) -> VolumesFrom {
        VolumesFrom { id: id.to_owned(), read_only }
    }

    #[test]
    fn the_last_word_on_a_place_counts() {
        let volume = |name: &str, destination: &str, options: &[&str]| {
            mount(MountKind::volume(name), destination, options)
        };
        let mounts_of = |id: &str| match id {
            "one" => Ok(vec![
                volume("a", "/a", &["rw", "nosuid"]),
                volume("b", "/b", &["ro"]),
                volume("c", "/c", &[]),
                mount(MountKind::Tmpfs {}, "/t", &[]),
            ]),
            "two" => Ok(vec![mount(MountKind::Virtiofs {}, "/a/./", &[])]),
            _ => Err(crate::error::not_found("x")),
        };
        let own = vec![volume("mine", "/c", &[])];
        // Nobody claims a source for a volume of its own.
        let mut claimed = own.clone();
        claimed[0].source = "/etc".to_owned();
        assert_eq!(inherit(claimed, &[], mounts_of).unwrap(), own);
        let places = |others: &[VolumesFrom]| inherit(own.clone(), others, mounts_of).unwrap();
        assert_eq!(places(&[]), own);
        assert_eq!(
            places(&[from("one", false)])[1..],
            [volume("a", "/a", &["rw", "nosuid"]), volume("b", "/b", &["ro"])]
        );
        assert_eq!(
            places(&[from("one", true), from("two", false)])[1..],
            [volume("b", "/b", &["ro"]), mount(MountKind::Virtiofs {}, "/a/./", &[])]
        );
        assert_eq!(places(&[from("two", false), from("one", true)])[1], volume("a", "/a", &["nosuid", "ro"]));
        assert!(inherit(Vec::new(), &[from("nobody", false)], mounts_of).is_err());
    }
}

//! Subordinate ids of an ordinary user, subuid(5): users and groups that he may be in user namespaces of his own.
//!
//! ```text
//!  in the namespace    0          1 … N
//!  on the host         the user   his ranges, one after the other
//! ```
//!
//! Whoever is in such a namespace cannot map them: newuidmap(1) and newgidmap(1) do, which are set-user-ID root and
//! check that the ranges are the user's. So two processes take part:
//!
//! ```text
//!  who stays outside                               who goes in
//!  answer() ◀── one byte: I am in a new namespace ── enter()
//!           newuidmap, newgidmap
//!           ── nothing, or why it has no ids ──────▶
//! ```

mod enter;
mod map;
mod missing;
mod passwd;
mod program;
mod range;

use std::path::PathBuf;

pub use enter::{EnterError, become_only_user, enter};
pub use map::MapError;
pub use missing::Missing;
pub use range::Range;

use range::Extents;

/// Ids that this process's user may map, and the programs that do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubordinateIds {
    users: Vec<Range>,
    groups: Vec<Range>,
    map_users: PathBuf,
    map_groups: PathBuf,
}

impl SubordinateIds {
    /// Looks for those of the user of this process.
    ///
    /// # Errors
    /// [`Missing`]
    pub fn of_this_user() -> Result<Self, Missing> {
        let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let map_users = program::find("newuidmap")?;
        let map_groups = program::find("newgidmap")?;
        let passwd::User { name, group: primary } = passwd::find(user).ok_or(Missing::Name { user })?;
        expect_primary(rustix::process::getgid().as_raw(), primary)?;
        let (subuid, subgid) = (range::read(range::USERS), range::read(range::GROUPS));
        let of_user = |text: &str, own, extents: &Extents| extents.usable(&range::of(text, &name, user), own);
        let users = of_user(&subuid, user, &Extents::of_this_namespace("/proc/self/uid_map"));
        let groups = of_user(&subgid, group, &Extents::of_this_namespace("/proc/self/gid_map"));
        if users.is_empty() || groups.is_empty() {
            let first_free = range::first_free(&[&subuid, &subgid]);
            let (lacks_users, lacks_groups) = (users.is_empty(), groups.is_empty());
            return Err(Missing::Ranges { name, first_free, lacks_users, lacks_groups });
        }
        Ok(Self { users, groups, map_users, map_groups })
    }

    /// Whether root of such a namespace has rights over files of this user and group of the host.
    #[must_use]
    pub fn hold(&self, user: u32, group: u32) -> bool {
        let is_own = |id, own: u32, ranges: &[Range]| id == own || ranges.iter().any(|range| range.holds(id));
        is_own(user, rustix::process::geteuid().as_raw(), &self.users)
            && is_own(group, rustix::process::getegid().as_raw(), &self.groups)
    }

    /// Users 1 and further of the namespace, on the host.
    #[must_use]
    pub fn users(&self) -> &[Range] {
        &self.users
    }

    /// Groups 1 and further of the namespace, on the host.
    #[must_use]
    pub fn groups(&self) -> &[Range] {
        &self.groups
    }
}

/// newuidmap(1) and newgidmap(1) serve nobody whose group is another than that of his login, `newgrp` for one.
fn expect_primary(group: u32, primary: u32) -> Result<(), Missing> {
    if group == primary { Ok(()) } else { Err(Missing::Group { group, primary }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_group_of_the_login_is_served() {
        assert_eq!(expect_primary(1000, 1000), Ok(()));
        let missing = expect_primary(999, 1000).unwrap_err();
        assert_eq!(
            missing.to_string(),
            "the services run with group 999, and newuidmap serves the user's primary group 1000 only"
        );
        assert!(missing.remedy().ends_with("from a login"));
    }
}

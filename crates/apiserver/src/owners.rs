//! Whose files containers of an ordinary user can have in folders of the host and shared volumes.

use bulkhead_api::system::{Advice, FolderSupport};
use bulkhead_subordinate_ids::{Range, SubordinateIds};

/// Looks at the host; `None` for root, whose containers give files to whom they want.
pub(crate) fn support() -> Option<FolderSupport> {
    if rustix::process::geteuid().is_root() {
        return None;
    }
    Some(match SubordinateIds::of_this_user() {
        Ok(ids) => FolderSupport { limits: vec![limit(ids.users(), ids.groups())], advice: Vec::new() },
        Err(missing) => FolderSupport {
            limits: vec!["files in folders of the host belong to you, who is root in containers".to_owned()],
            advice: vec![Advice {
                problem: format!("{missing}: chown has no effect in folders of the host and shared volumes."),
                remedy: missing.remedy(),
            }],
        },
    })
}

fn limit(users: &[Range], groups: &[Range]) -> String {
    let told = |ranges: &[Range]| ranges.iter().map(Range::to_string).collect::<Vec<_>>().join(", ");
    let (users, groups) = (told(users), told(groups));
    let groups = if users == groups { String::new() } else { format!(" (groups {groups})") };
    format!(
        "files in folders of the host belong to you, who is root in containers, or to your subordinate ids, who \
         are their users 1 and further: {users}{groups}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_told_once_where_users_and_groups_have_the_same() {
        let (one, other) = (Range { first: 100_000, count: 65_536 }, Range { first: 5000, count: 1 });
        assert!(limit(&[one], &[one]).ends_with(": 100000 to 165535"));
        let both = limit(&[one, other], &[one]);
        assert!(both.ends_with(": 100000 to 165535, 5000 to 5000 (groups 100000 to 165535)"), "{both}");
    }
}

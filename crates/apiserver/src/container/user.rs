//! Who a process runs as, as far as that can be told without the image's files.

use bulkhead_api::error::ApiError;
use bulkhead_api::process::User;

use crate::error::invalid;

/// Greater ids wrap to negative numbers in some programs (GO-2025-3528).
const MAXIMUM_ID: u32 = i32::MAX.unsigned_abs();
const SHOWN_CHARACTERS: usize = 80;

/// Groups beyond those of the image's /etc/group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Groups {
    pub(crate) ids: Vec<u32>,
    /// Looked up in the guest.
    pub(crate) names: Vec<String>,
}

/// The request's user, else the image's, else root.
pub(crate) fn resolve(wanted: Option<User>, image: &str) -> Result<User, ApiError> {
    let user = match wanted {
        Some(user) => user,
        None if image.is_empty() => User::Id { uid: 0, gid: 0 },
        None => User::Raw { user_string: image.to_owned() },
    };
    validate(&user)?;
    Ok(user)
}

/// Refuses what no guest would take.
pub(crate) fn validate(user: &User) -> Result<(), ApiError> {
    let refused = match user {
        User::Id { uid, gid } => *uid > MAXIMUM_ID || *gid > MAXIMUM_ID,
        User::Raw { user_string } => {
            user_string.split(':').any(|part| part.contains('\0') || matches!(id(part), Some(Err(()))))
        }
    };
    if refused {
        let shown = shown(&user.specification());
        return Err(invalid(format!("'{shown}' is not a user: ids go up to {MAXIMUM_ID}")));
    }
    Ok(())
}

/// Sorts `--group-add`: numbers are ids, everything else is a name.
pub(crate) fn groups(wanted: &[String]) -> Result<Groups, ApiError> {
    let mut groups = Groups::default();
    for text in wanted {
        match id(text) {
            Some(Ok(id)) => groups.ids.push(id),
            None if !text.is_empty() && !text.contains([':', '\0', '\n']) => groups.names.push(text.clone()),
            _ => {
                let shown = shown(text);
                return Err(invalid(format!("'{shown}' is not a group: ids go up to {MAXIMUM_ID}")));
            }
        }
    }
    Ok(groups)
}

/// `None` when the text is no number.
fn id(text: &str) -> Option<Result<u32, ()>> {
    let numeric = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    numeric.then(|| text.parse().ok().filter(|id| *id <= MAXIMUM_ID).ok_or(()))
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARACTERS).flat_map(char::escape_default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f48_ids_that_wrap_are_refused() {
        let raw = |text: &str| validate(&User::Raw { user_string: text.to_owned() });
        for text in ["4294967296:0", "0:2147483648", "a\0"] {
            assert!(raw(text).is_err(), "{text:?}");
        }
        for text in ["", "www:www", "2147483647", "0:0", "1x"] {
            assert!(raw(text).is_ok(), "{text:?}");
        }
        assert!(validate(&User::Id { uid: 0, gid: u32::MAX }).is_err());
    }

    #[test]
    fn groups_are_numbers_or_names() {
        let sort = |texts: &[&str]| groups(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        let sorted = sort(&["10", "audio", "0"]).unwrap();
        assert_eq!((sorted.ids, sorted.names), (vec![10, 0], vec!["audio".to_owned()]));
        for text in ["", "4294967296", "a:b", "a\nb"] {
            assert!(sort(&[text]).is_err(), "{text:?}");
        }
    }
}

//! Names of containers: `^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`, 2 to 63 characters.
//!
//! A validated name is safe as one component of a path and on a terminal.

use bulkhead_api::error::ApiError;

use crate::error::invalid;

pub(crate) fn validate(id: &str) -> Result<(), ApiError> {
    let first = id.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if first && rest && (2..=63).contains(&id.len()) {
        Ok(())
    } else {
        let shown: String = id.chars().take(80).flat_map(char::escape_default).collect();
        Err(invalid(format!(
            "'{shown}' is not a container name: 2 to 63 letters, digits, '_', '.' or '-', of which the first \
             is a letter or digit"
        )))
    }
}

/// A name for a container that was given none.
pub(crate) fn generate() -> String {
    uuid::Uuid::new_v4().hyphenated().to_string()
}

/// The guest's host name: the first DNS label of the id.
pub(crate) fn hostname(id: &str) -> &str {
    id.split('.').next().unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f52_hostile_names_are_refused() {
        let long = "x".repeat(64);
        for id in
            ["", "a", ".", "..", "a/b", "-a", "_a", ".hidden", "a b", "a\n", "a\u{1b}[0m", "ａｂ", &long]
        {
            let error = validate(id).unwrap_err();
            assert!(!error.message.contains(['\n', '\u{1b}']), "{id}");
        }
        for id in ["ab", "A.b_c-d", "0123", &"x".repeat(63), &generate()] {
            validate(id).unwrap();
        }
    }

    #[test]
    fn the_host_name_is_the_first_label() {
        assert_eq!(hostname("web.example.test"), "web");
        assert_eq!(hostname("web"), "web");
    }
}

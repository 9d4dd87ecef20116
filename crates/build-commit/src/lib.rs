//! The git commit that the programs were built from.
//!
//! A crate of its own, so that a commit compiles anew only what shows it.

/// Full hash; `unspecified` where the sources are no git repository and `BULKHEAD_COMMIT` was not set.
pub const COMMIT: &str = env!("BULKHEAD_BUILD_COMMIT");

/// For people: the first seven digits.
#[must_use]
pub fn short() -> &'static str {
    match COMMIT.get(..7) {
        Some(short) if COMMIT.bytes().all(|byte| byte.is_ascii_hexdigit()) => short,
        _ => COMMIT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_a_hash_or_said_to_be_none() {
        let is_hash = COMMIT.len() >= 40 && COMMIT.bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(is_hash || COMMIT == "unspecified" || option_env!("BULKHEAD_COMMIT").is_some(), "{COMMIT}");
        assert!(!is_hash || short().len() == 7);
    }
}

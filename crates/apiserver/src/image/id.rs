//! Ids of images: digests, or enough of their first digits.

/// As many as Docker shows. Fewer are names.
const FEWEST_DIGITS: usize = 12;
const ALL_DIGITS: usize = 64;
const ALGORITHM: &str = "sha256:";

/// The digits, if the text may be an id.
pub(super) fn digits(text: &str) -> Option<&str> {
    let digits = text.strip_prefix(ALGORITHM).unwrap_or(text);
    let are_digits = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (are_digits && (FEWEST_DIGITS..=ALL_DIGITS).contains(&digits.len())).then_some(digits)
}

/// Whether the text is an id and cannot be a name.
pub(super) fn is_certain(text: &str) -> bool {
    digits(text).is_some_and(|digits| digits.len() == ALL_DIGITS || digits.len() < text.len())
}

pub(super) fn begins_with(digest: &str, digits: &str) -> bool {
    digest.strip_prefix(ALGORITHM).is_some_and(|all| all.starts_with(digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_told_from_names() {
        let all = "0123456789abcdef".repeat(4);
        for (text, is_id, is_certainly_one) in [
            (all.as_str(), true, true),
            (&format!("sha256:{all}"), true, true),
            ("0123456789ab", true, false),
            ("sha256:0123456789ab", true, true),
            ("0123456789a", false, false),
            ("0123456789AB", false, false),
            ("sha256:latest", false, false),
            ("demo", false, false),
        ] {
            assert_eq!(digits(text).is_some(), is_id, "{text}");
            assert_eq!(is_certain(text), is_certainly_one, "{text}");
        }
        assert!(begins_with(&format!("sha256:{all}"), "0123456789ab"));
        assert!(!begins_with(&format!("sha512:{all}"), "0123456789ab"));
    }
}

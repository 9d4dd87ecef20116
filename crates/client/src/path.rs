//! Paths and queries with their parameters filled in.

use std::fmt::Write;

/// Replaces `{name}` of a route by the percent-encoded value.
pub(crate) fn fill(route: &str, name: &str, value: &str) -> String {
    route.replace(&format!("{{{name}}}"), &percent_encode(value))
}

/// Encodes all but the unreserved characters of RFC 3986, section 2.3.
pub(crate) fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing into a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stays_one_path_segment() {
        assert_eq!(
            fill("/v1/containers/{id}/stop", "id", "a/b?c#%é"),
            "/v1/containers/a%2Fb%3Fc%23%25%C3%A9/stop"
        );
    }

    #[test]
    fn unreserved_characters_stay() {
        assert_eq!(percent_encode("aZ09-._~"), "aZ09-._~");
    }
}

//! Which redirections are followed.

use std::net::IpAddr;

use reqwest::Url;

use crate::transport::{display_host, is_link_local};
use crate::{RegistryError, scheme};

/// Same scheme, host and port: who may see the same credentials.
pub(crate) fn is_same_origin(left: &Url, right: &Url) -> bool {
    left.scheme() == right.scheme()
        && left.host_str() == right.host_str()
        && left.port_or_known_default() == right.port_or_known_default()
}

/// The URL that a redirection from `current` leads to, if it may be followed on behalf of the registry at `base`.
pub(crate) fn check_redirect(
    base: &Url,
    current: &Url,
    location: Option<&str>,
) -> Result<Url, RegistryError> {
    let refuse = |reason| RegistryError::Redirect { registry: display_host(current), reason };
    let location = location.ok_or_else(|| refuse("it names no target"))?;
    let target = current.join(location).map_err(|_| refuse("its target is no URL"))?;
    match check_target(base, &target) {
        Some(reason) => Err(refuse(reason)),
        None => Ok(target),
    }
}

/// The rule that `target` breaks; for token services too.
pub(crate) fn check_target(base: &Url, target: &Url) -> Option<&'static str> {
    let is_plain = match target.scheme() {
        "https" => false,
        "http" => true,
        _ => return Some("its target is neither http nor https"),
    };
    if is_plain && base.scheme() == "https" {
        return Some("its target is not encrypted");
    }
    let host = scheme::host_of(target.host_str()?);
    // Instances in clouds find their credentials at such addresses.
    if host.parse::<IpAddr>().is_ok_and(is_link_local) && !is_same_origin(base, target) {
        return Some("its target is a link-local address");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_only_harmless_redirections() {
        let cases = [
            ("https://r.example/v2/", Some("https://cdn.example/x"), true),
            ("https://r.example/v2/", Some("/other"), true),
            ("https://r.example/v2/", Some("http://cdn.example/x"), false),
            ("https://r.example/v2/", Some("http://r.example/x"), false),
            ("http://127.0.0.1:5000/v2/", Some("http://127.0.0.1:5001/x"), true),
            ("http://127.0.0.1:5000/v2/", Some("https://cdn.example/x"), true),
            ("https://r.example/v2/", Some("file:///etc/passwd"), false),
            ("http://127.0.0.1/v2/", Some("ftp://x/y"), false),
            ("http://127.0.0.1/v2/", Some("http://169.254.169.254/latest/meta-data"), false),
            ("http://127.0.0.1/v2/", Some("http://[fe80::1]/"), false),
            ("http://127.0.0.1/v2/", Some("http://[::ffff:169.254.169.254]/"), false),
            ("http://127.0.0.1/v2/", Some("http://2852039166/"), false),
            ("https://r.example/v2/", Some("http://"), false),
            ("https://r.example/v2/", None, false),
        ];
        for (base, location, expected) in cases {
            let base = Url::parse(base).unwrap();
            assert_eq!(check_redirect(&base, &base, location).is_ok(), expected, "{base} {location:?}");
        }
    }

    #[test]
    fn origins_include_the_port() {
        let same = |left: &str, right: &str| is_same_origin(&left.parse().unwrap(), &right.parse().unwrap());
        assert!(same("https://a/x", "https://a:443/y"));
        assert!(!same("https://a", "http://a"));
        assert!(!same("http://a:1", "http://a:2"));
        assert!(!same("https://a", "https://a.b"));
    }
}

//! Host names.

use std::net::IpAddr;
use std::str::FromStr;

use bulkhead_api::container::{ExtraHost, HOST_GATEWAY};

use super::{InvalidValue, invalid};

/// sethostname(2)
const MAXIMUM_BYTES: usize = 64;

/// `--hostname`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hostname(String);

impl Hostname {
    pub(crate) fn into_string(self) -> String {
        self.0
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Hostname {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        if is_name(text) && text.len() <= MAXIMUM_BYTES {
            Ok(Self(text.to_owned()))
        } else {
            invalid(format!("a host name has up to {MAXIMUM_BYTES} letters, digits, '-' and '.'"))
        }
    }
}

/// `--add-host name:address`; `name=address` as well, which is easier to read with IPv6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AddHost(ExtraHost);

impl AddHost {
    pub(crate) fn into_extra_host(self) -> ExtraHost {
        self.0
    }
}

impl FromStr for AddHost {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let Some((name, address)) = text.split_once(['=', ':']) else {
            return invalid("expected name:address");
        };
        if !is_name(name) {
            return invalid(format!("'{name}' is no host name"));
        }
        let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
        let address = match bare.parse::<IpAddr>() {
            Ok(address) => address.to_string(),
            Err(_) if address == HOST_GATEWAY => address.to_owned(),
            Err(_) => return invalid(format!("'{address}' is neither an address nor {HOST_GATEWAY}")),
        };
        Ok(Self(ExtraHost { name: name.to_owned(), address }))
    }
}

fn is_name(text: &str) -> bool {
    text.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for (text, expected) in [
            ("db:10.0.0.1", Some(("db", "10.0.0.1"))),
            ("db:fd00::1", Some(("db", "fd00::1"))),
            ("db=[fd00::1]", Some(("db", "fd00::1"))),
            ("db.example:host-gateway", Some(("db.example", "host-gateway"))),
            ("db", None),
            ("db:", None),
            (":10.0.0.1", None),
            ("d b:10.0.0.1", None),
            ("db:10.0.0", None),
        ] {
            let parsed = text.parse::<AddHost>().ok().map(AddHost::into_extra_host);
            let parsed = parsed.as_ref().map(|host| (&*host.name, &*host.address));
            assert_eq!(parsed, expected, "{text:?}");
        }
    }

    #[test]
    fn f52_hostile_host_names_are_refused() {
        for text in ["", "-a", "a b", "a\n", "a..b", &"x".repeat(65)] {
            assert!(text.parse::<Hostname>().is_err(), "{text:?}");
        }
        assert!("web-1.example".parse::<Hostname>().is_ok());
    }
}

//! The container's own name and the further lines of its /etc/hosts.

use std::net::IpAddr;

use bulkhead_api::container::{ExtraHost, HOST_GATEWAY};
use bulkhead_api::error::ApiError;

use crate::error::invalid;
use crate::network::Interface;

/// Linux's `__NEW_UTS_LEN`, sethostname(2).
const MAXIMUM_HOSTNAME_BYTES: usize = 64;
/// RFC 1035, section 2.3.4.
const MAXIMUM_NAME_BYTES: usize = 253;

/// Checks a host name.
pub(crate) fn validate_hostname(name: &str) -> Result<(), ApiError> {
    if is_name(name) && name.len() <= MAXIMUM_HOSTNAME_BYTES {
        return Ok(());
    }
    Err(invalid(format!(
        "'{}' is not a host name: up to {MAXIMUM_HOSTNAME_BYTES} letters, digits, '-' and '.'",
        shown(name)
    )))
}

/// Checks what is to be added to /etc/hosts.
pub(crate) fn validate_extra(hosts: &[ExtraHost]) -> Result<(), ApiError> {
    for ExtraHost { name, address } in hosts {
        if !is_name(name) || name.len() > MAXIMUM_NAME_BYTES {
            return Err(invalid(format!("'{}' is not a host name", shown(name))));
        }
        if address != HOST_GATEWAY && address.parse::<IpAddr>().is_err() {
            return Err(invalid(format!(
                "'{}' is not an address for host '{name}': expected an IP address or '{HOST_GATEWAY}'",
                shown(address)
            )));
        }
    }
    Ok(())
}

/// Lines as the guest gets them: address, name.
pub(crate) fn resolve(
    hosts: &[ExtraHost],
    interfaces: &[Interface],
) -> Result<Vec<(String, String)>, ApiError> {
    let gateway = interfaces.first().map(|first| first.lease.ipv4_gateway.to_string());
    hosts
        .iter()
        .map(|ExtraHost { name, address }| {
            let address = if address == HOST_GATEWAY { gateway.clone() } else { Some(address.clone()) };
            let address = address.ok_or_else(|| {
                invalid(format!("host '{name}' cannot be the gateway: the container joins no network"))
            })?;
            Ok((address, name.clone()))
        })
        .collect()
}

fn is_name(name: &str) -> bool {
    name.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    })
}

fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, address: &str) -> [ExtraHost; 1] {
        [ExtraHost { name: name.to_owned(), address: address.to_owned() }]
    }

    #[test]
    fn f52_hostile_host_names_are_refused() {
        for name in ["", "-a", "a-", "a b", "a\nb", ".", "a..b", "a/b", "é", &"x".repeat(65)] {
            assert!(validate_hostname(name).is_err(), "{name:?}");
        }
        for name in ["a", "web-1", "web.example", &"x".repeat(64)] {
            assert!(validate_hostname(name).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn hosts_have_an_address_or_are_the_gateway() {
        for (name, address) in [("db", "10.0.0.1"), ("db", "fd00::1"), ("db", HOST_GATEWAY)] {
            assert!(validate_extra(&host(name, address)).is_ok(), "{address}");
        }
        for (name, address) in [("db", ""), ("db", "10.0.0"), ("d b", "10.0.0.1"), ("db", "1.2.3.4\n::1 x")] {
            assert!(validate_extra(&host(name, address)).is_err(), "{address:?}");
        }
        assert!(resolve(&host("db", HOST_GATEWAY), &[]).is_err());
        let lines = resolve(&host("db", "10.0.0.1"), &[]).unwrap();
        assert_eq!(lines, [("10.0.0.1".to_owned(), "db".to_owned())]);
    }
}

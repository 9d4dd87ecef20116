//! Creating and deleting networks.

use bulkhead_api::container::NetworkConfiguration;
use bulkhead_api::error::{ApiError, ErrorCode};
use bulkhead_api::network::{NetworkCreateRequest, NetworkResource};
use bulkhead_network_control::{DEFAULT_NETWORK, FailureCode, Reply, Request};
use bulkhead_state::{Change, NetworkRecord};

use super::{Networks, list};
use crate::date;
use crate::error::{exists, invalid, invalid_state, not_found};
use crate::service::Service;

/// The plugin that serves every network, by the name that scripts know.
pub(super) const PLUGIN: &str = "container-network-vmnet";
/// What container-network goes by.
const OPTIONS: [&str; 1] = ["mtu"];
/// Stands for no network at all.
const RESERVED: &str = "none";
const MAXIMUM_NAME_BYTES: usize = 63;
/// Names of containers that an error lists.
const SHOWN_USERS: usize = 5;

impl Networks {
    async fn create(&self, request: NetworkCreateRequest) -> Result<NetworkResource, ApiError> {
        validate(&request)?;
        let _one_at_a_time = self.changing.lock().await;
        let name = request.name;
        if self.link.records().contains_key(&name) {
            return Err(exists(format!("network '{name}' already exists")));
        }
        let record = NetworkRecord {
            name,
            subnet_is_fixed: request.ipv4_subnet.is_some(),
            ipv4_subnet: request.ipv4_subnet,
            ipv6_subnet: request.ipv6_subnet,
            internal: request.internal,
            labels: request.labels,
            options: request.options,
            creation_date: date::now(),
        };
        let (network, record) = self.link.create(record).await?;
        let recorded = self.records.submit(Change::PutNetwork(Box::new(record.clone()))).wait().await;
        if let Err(error) = recorded {
            self.link.forget(&record.name);
            self.link.request(Request::DeleteNetwork { name: record.name }).await?;
            return Err(error);
        }
        tracing::info!(network = record.name, subnet = network.ipv4_subnet, "created");
        Ok(list::resource(&record, Some(network)))
    }

    async fn delete(&self, service: &Service, name: &str) -> Result<(), ApiError> {
        let _one_at_a_time = self.changing.lock().await;
        expect_unused(service, name)?;
        if !self.link.records().contains_key(name) {
            return Err(missing(name));
        }
        // A container that is created from here on does not find it any more.
        let record = self.link.forget(name);
        if let Err(error) = self.remove(service, name).await {
            if let Some(record) = record {
                self.link.know(record);
            }
            return Err(error);
        }
        self.records.submit(Change::DeleteNetwork { name: name.to_owned() }).wait().await?;
        tracing::info!(network = name, "deleted");
        service.history.network("destroy", name, None);
        Ok(())
    }

    async fn remove(&self, service: &Service, name: &str) -> Result<(), ApiError> {
        // One that was created just before.
        expect_unused(service, name)?;
        // Whoever ended just now may still hold a lease.
        self.wait_for_releases().await;
        if let Some(client) = self.link.current() {
            match client.request(Request::DeleteNetwork { name: name.to_owned() }).await {
                Ok((Reply::Done, _)) => {}
                // It could not be made on this host, today.
                Err(super::ClientError::Refused(failure)) if failure.code == FailureCode::NotFound => {}
                Err(error) => return Err(super::from_client(error)),
                Ok(_) => return Err(invalid_state("container-network answered nonsense")),
            }
        }
        Ok(())
    }

    /// Whether there is such a network.
    pub(crate) fn expect_known(&self, name: &str) -> Result<(), ApiError> {
        match self.link.records().contains_key(name) {
            true => Ok(()),
            false => Err(missing(name).with_hint(hint_about(name))),
        }
    }

    /// Whether a container can be created with these.
    pub(crate) fn check(&self, wanted: Option<&[NetworkConfiguration]>) -> Result<(), ApiError> {
        let wanted = wanted.unwrap_or_default();
        let records = self.link.records();
        for (index, one) in wanted.iter().enumerate() {
            let name = &one.network;
            let Some(record) = records.get(name) else {
                return Err(missing(name).with_hint(hint_about(name)));
            };
            if wanted[..index].iter().any(|earlier| earlier.network == *name) {
                return Err(invalid(format!("network '{name}' is given twice")));
            }
            if let Some(address) = &one.options.ipv4_address
                && address.parse::<std::net::Ipv4Addr>().is_err()
            {
                return Err(invalid(format!("'{}' is not an IPv4 address", shown(address))));
            }
            if let Some(address) = &one.options.ipv6_address {
                if address.parse::<std::net::Ipv6Addr>().is_err() {
                    return Err(invalid(format!("'{}' is not an IPv6 address", shown(address))));
                }
                if record.ipv6_subnet.is_none() {
                    return Err(invalid(format!("network '{name}' has no IPv6"))
                        .with_hint("Create one that has: container network create --subnet-v6 CIDR"));
                }
            }
            for alias in &one.options.aliases {
                crate::container::hosts::validate_hostname(alias)?;
            }
        }
        Ok(())
    }
}

/// Creates a network; it is durable and usable when this returns.
pub(crate) async fn create(
    service: &Service,
    request: NetworkCreateRequest,
) -> Result<NetworkResource, ApiError> {
    let created = service.networks.create(request).await?;
    service.history.network("create", &created.id, None);
    Ok(created)
}

/// Deletes a network that no container refers to, running or not.
pub(crate) async fn delete(service: &Service, name: &str) -> Result<(), ApiError> {
    if name == DEFAULT_NETWORK {
        return Err(invalid("the default network cannot be deleted"));
    }
    service.networks.delete(service, name).await
}

fn expect_unused(service: &Service, name: &str) -> Result<(), ApiError> {
    let users = users(service, name);
    if users.is_empty() {
        return Ok(());
    }
    let more = if users.len() > SHOWN_USERS { ", …" } else { "" };
    let names = users.iter().take(SHOWN_USERS).map(|id| format!("'{id}'")).collect::<Vec<_>>().join(", ");
    Err(invalid_state(format!("network '{}' is used by container {names}{more}", shown(name)))
        .with_hint("Delete the containers first."))
}

/// Deletes every network but the default one that no container refers to; returns their names.
pub(crate) async fn prune(service: &Service) -> Result<Vec<String>, ApiError> {
    let mut deleted = Vec::new();
    for name in service.networks.link.records().into_keys() {
        if name == DEFAULT_NETWORK || !users(service, &name).is_empty() {
            continue;
        }
        match service.networks.delete(service, &name).await {
            Ok(()) => deleted.push(name),
            // Gone, or taken, meanwhile.
            Err(error) if matches!(error.code, ErrorCode::InvalidState | ErrorCode::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(deleted)
}

fn users(service: &Service, name: &str) -> Vec<String> {
    let joins = |networks: &[NetworkConfiguration]| networks.iter().any(|one| one.network == name);
    let containers = service.containers.all().into_iter();
    containers
        .filter(|container| joins(&container.configuration.networks))
        .map(|container| container.id.clone())
        .collect()
}

/// What users of Docker look for.
fn hint_about(name: &str) -> &'static str {
    match name {
        "bridge" => "The network that is always there is called 'default'.",
        "host" => {
            "A container has a machine of its own: publish its ports with --publish, and let it reach programs of \
             this host by a name of 'container system dns create --localhost'."
        }
        _ => "List the networks: container network list",
    }
}

pub(super) fn missing(name: &str) -> ApiError {
    not_found(format!("network '{}' not found", shown(name)))
}

fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_default).collect()
}

fn validate(request: &NetworkCreateRequest) -> Result<(), ApiError> {
    let name = request.name.as_str();
    if !is_name(name) {
        return Err(invalid(format!(
            "'{}' is not a network name: up to {MAXIMUM_NAME_BYTES} lower-case letters, digits, '.', '_' \
             and '-', the first and last a letter or digit",
            shown(name)
        )));
    }
    if name == RESERVED {
        return Err(invalid(format!("'{RESERVED}' stands for no network and cannot be created")));
    }
    if let Some(unknown) = request.options.keys().find(|key| !OPTIONS.contains(&key.as_str())) {
        return Err(invalid(format!(
            "'{}' is not an option of a network: expected {}",
            shown(unknown),
            OPTIONS.join(", ")
        )));
    }
    match request.plugin.as_deref() {
        None | Some(PLUGIN) => Ok(()),
        Some(other) => Err(not_found(format!("there is no network plugin '{}'", shown(other)))),
    }
}

/// `^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?$`
fn is_name(name: &str) -> bool {
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    bytes.len() <= MAXIMUM_NAME_BYTES
        && bytes.first().is_some_and(plain)
        && bytes.last().is_some_and(plain)
        && bytes.iter().all(|byte| plain(byte) || b"._-".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_reference() {
        for name in ["a", "foo", "a.b_c-d", "0", &"x".repeat(63)] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "A", "-a", "a-", "a/b", "a b", "é", &"x".repeat(64)] {
            assert!(!is_name(name), "{name}");
        }
        let request = |name: &str| NetworkCreateRequest { name: name.to_owned(), ..Default::default() };
        assert!(validate(&request("foo")).is_ok());
        assert!(validate(&request("none")).is_err());
        assert!(validate(&NetworkCreateRequest { plugin: Some("x".to_owned()), ..request("foo") }).is_err());
    }
}

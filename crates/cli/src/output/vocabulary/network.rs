//! Networks.

use bulkhead_api::network::{NetworkResource, NetworkResourceConfiguration, NetworkResourceStatus};
use bulkhead_api::registry::RegistryResource;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Templated, any_keys, pairs, replaced, time};

impl Templated for NetworkResource {
    fn examples() -> Vec<Self> {
        let text = || Some(String::new());
        vec![Self {
            id: String::new(),
            configuration: NetworkResourceConfiguration {
                name: String::new(),
                creation_date: String::new(),
                mode: String::new(),
                ipv4_subnet: text(),
                ipv6_subnet: text(),
                labels: any_keys(),
                plugin: String::new(),
                options: any_keys(),
            },
            status: NetworkResourceStatus {
                ipv4_subnet: String::new(),
                ipv4_gateway: String::new(),
                ipv6_subnet: text(),
            },
        }]
    }

    fn words(&self) -> Value {
        let (configuration, status) = (&self.configuration, &self.status);
        json!({
            "ID": self.id,
            "Id": self.id,
            "Name": configuration.name,
            "Driver": configuration.plugin,
            "Scope": "local",
            "Internal": configuration.mode != "nat",
            "IPv6": status.ipv6_subnet.is_some(),
            "CreatedAt": time::date(&configuration.creation_date),
            "Created": configuration.creation_date,
            "Labels": pairs(&configuration.labels),
            "Label": configuration.labels,
            "IPAM": {"Config": [{"Subnet": status.ipv4_subnet, "Gateway": status.ipv4_gateway}]},
        })
    }
}

/// A network whose words are those of Docker's `inspect`.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct NetworkDetails(pub(crate) NetworkResource);

impl Templated for NetworkDetails {
    fn examples() -> Vec<Self> {
        NetworkResource::examples().into_iter().map(Self).collect()
    }

    fn words(&self) -> Value {
        let configuration = &self.0.configuration;
        let others = json!({
            "Labels": configuration.labels,
            "Options": configuration.options,
            "EnableIPv6": self.0.status.ipv6_subnet.is_some(),
        });
        replaced(self.0.words(), others)
    }
}

impl Templated for RegistryResource {
    fn examples() -> Vec<Self> {
        vec![Self {
            id: String::new(),
            name: String::new(),
            username: String::new(),
            creation_date: String::new(),
            modification_date: String::new(),
            labels: any_keys(),
        }]
    }
}

//! Volumes.

use bulkhead_api::volume::{VolumeConfiguration, VolumeResource};
use serde_json::{Value, json};

use super::{Templated, any_keys, pairs};

impl Templated for VolumeResource {
    fn examples() -> Vec<Self> {
        vec![Self {
            id: String::new(),
            configuration: VolumeConfiguration {
                name: String::new(),
                driver: String::new(),
                format: String::new(),
                source: String::new(),
                creation_date: String::new(),
                labels: any_keys(),
                options: any_keys(),
                size_in_bytes: Some(0),
            },
        }]
    }

    fn words(&self) -> Value {
        let configuration = &self.configuration;
        json!({
            "Name": configuration.name,
            "Driver": configuration.driver,
            "Mountpoint": configuration.source,
            "Labels": pairs(&configuration.labels),
            "Label": configuration.labels,
            "Scope": "local",
            "CreatedAt": configuration.creation_date,
        })
    }
}

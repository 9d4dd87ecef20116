//! Volumes.

use bulkhead_api::volume::{VolumeConfiguration, VolumeResource};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Templated, any_keys, pairs, replaced};

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

/// A volume whose words are those of Docker's `inspect`.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct VolumeDetails(pub(crate) VolumeResource);

impl Templated for VolumeDetails {
    fn examples() -> Vec<Self> {
        VolumeResource::examples().into_iter().map(Self).collect()
    }

    fn words(&self) -> Value {
        let configuration = &self.0.configuration;
        let others = json!({"Labels": configuration.labels, "Options": configuration.options});
        replaced(self.0.words(), others)
    }
}

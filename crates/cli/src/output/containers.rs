//! Containers in tables.

use bulkhead_api::container::ContainerSnapshot;

use super::render::Listed;

impl Listed for ContainerSnapshot {
    const HEADER: &'static [&'static str] =
        &["ID", "IMAGE", "OS", "ARCH", "STATE", "IP", "CPUS", "MEMORY", "STARTED"];

    fn row(&self) -> Vec<String> {
        let configuration = &self.configuration;
        let addresses: Vec<&str> =
            self.status.networks.iter().map(|network| network.ipv4_address.as_str()).collect();
        vec![
            self.id.clone(),
            configuration.image.reference.clone(),
            configuration.platform.os.clone(),
            configuration.platform.architecture.clone(),
            self.status.state.as_str().to_owned(),
            addresses.join(","),
            configuration.resources.cpus.to_string(),
            format!("{} MB", configuration.resources.memory_in_bytes >> 20),
            self.status.started_date.clone().unwrap_or_default(),
        ]
    }

    fn id(&self) -> &str {
        &self.id
    }
}

//! Volumes in tables.

use bulkhead_api::volume::VolumeResource;

use super::render::Listed;

impl Listed for VolumeResource {
    const HEADER: &'static [&'static str] = &["NAME", "TYPE", "DRIVER", "OPTIONS"];

    fn row(&self) -> Vec<String> {
        let configuration = &self.configuration;
        let options: Vec<String> =
            configuration.options.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let kind = if configuration.is_anonymous() { "anonymous" } else { "named" };
        vec![self.id.clone(), kind.to_owned(), configuration.driver.clone(), options.join(",")]
    }

    fn id(&self) -> &str {
        &self.id
    }
}

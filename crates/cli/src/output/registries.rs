//! Registries in tables.

use bulkhead_api::registry::RegistryResource;

use super::render::Listed;

impl Listed for RegistryResource {
    const HEADER: &'static [&'static str] = &["HOSTNAME", "USERNAME", "MODIFIED", "CREATED"];

    fn row(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.username.clone(),
            self.modification_date.clone(),
            self.creation_date.clone(),
        ]
    }

    fn id(&self) -> &str {
        &self.id
    }
}

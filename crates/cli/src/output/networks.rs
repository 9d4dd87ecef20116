//! Networks in tables.

use bulkhead_api::network::NetworkResource;

use super::render::Listed;

impl Listed for NetworkResource {
    const HEADER: &'static [&'static str] = &["NETWORK", "SUBNET"];

    fn row(&self) -> Vec<String> {
        vec![self.id.clone(), self.status.ipv4_subnet.clone()]
    }

    fn id(&self) -> &str {
        &self.id
    }
}

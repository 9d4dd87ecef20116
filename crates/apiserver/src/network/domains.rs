//! Domains by which the host finds containers, and containers the host.

use bulkhead_api::error::{ApiError, ErrorCode};
use bulkhead_api::network::{DomainCreateRequest, DomainCreateResponse};
use bulkhead_network_control::{Domain, NameServer, Reply, Request};
use bulkhead_state::{Change, DomainRecord};

use super::Networks;
use crate::error::{exists, not_found, printable};

impl Networks {
    /// Names of all domains.
    pub(crate) fn domains(&self) -> Vec<String> {
        self.link.domains().into_iter().map(|domain| domain.name).collect()
    }

    /// Has the host find containers below a domain, from now on and after every start.
    pub(crate) async fn create_domain(
        &self,
        request: DomainCreateRequest,
    ) -> Result<DomainCreateResponse, ApiError> {
        expect_root()?;
        let _one_at_a_time = self.changing.lock().await;
        let DomainCreateRequest { mut name, localhost } = request;
        name.make_ascii_lowercase();
        let mut domains = self.link.domains();
        if domains.iter().any(|domain| domain.name == name) {
            return Err(exists(format!("domain '{}' already exists", printable(&name))));
        }
        let before = domains.clone();
        domains.push(DomainRecord { name: name.clone(), localhost });
        domains.sort_by(|one, other| one.name.cmp(&other.name));
        let server = self.set_domains(&domains).await?;
        self.link.know_domains(domains);
        let change = Change::PutDomain(DomainRecord { name: name.clone(), localhost });
        if let Err(error) = self.records.submit(change).wait().await {
            self.link.know_domains(before.clone());
            self.set_domains(&before).await?;
            return Err(error);
        }
        tracing::info!(domain = name, "created");
        Ok(DomainCreateResponse {
            name,
            name_server: server.address.map(|address| address.to_string()).unwrap_or_default(),
            is_known_to_host: server.is_known_to_host,
        })
    }

    /// Forgets a domain.
    pub(crate) async fn delete_domain(&self, name: &str) -> Result<(), ApiError> {
        expect_root()?;
        let _one_at_a_time = self.changing.lock().await;
        let before = self.link.domains();
        let domains: Vec<_> =
            before.iter().filter(|domain| !domain.name.eq_ignore_ascii_case(name)).cloned().collect();
        if domains.len() == before.len() {
            return Err(not_found(format!("domain '{}' not found", printable(name))));
        }
        self.link.know_domains(domains.clone());
        if self.link.current().is_some()
            && let Err(error) = self.set_domains(&domains).await
        {
            self.link.know_domains(before);
            return Err(error);
        }
        self.records.submit(Change::DeleteDomain { name: name.to_ascii_lowercase() }).wait().await?;
        tracing::info!(domain = name, "deleted");
        Ok(())
    }

    async fn set_domains(&self, domains: &[DomainRecord]) -> Result<NameServer, ApiError> {
        match self.link.request(request(domains)).await?.0 {
            Reply::NameServer(server) => Ok(server),
            _ => Err(ApiError::new(ErrorCode::InternalError, "container-network answered nonsense")),
        }
    }
}

/// What container-network has to know of domains.
pub(super) fn request(domains: &[DomainRecord]) -> Request {
    let domains = domains.iter().map(|one| Domain { name: one.name.clone(), localhost: one.localhost });
    Request::SetDomains { domains: domains.collect() }
}

fn expect_root() -> Result<(), ApiError> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(ApiError::new(
        ErrorCode::Unsupported,
        "domains change how the host finds names: only the services of root can have them",
    ))
}

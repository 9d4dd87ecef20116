//! `system dns create`

use std::net::Ipv4Addr;

use bulkhead_api::network::{DomainCreateRequest, DomainCreateResponse};
use clap::Args;

use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output;
use crate::output::{escape, message};
use crate::services::Services;

/// Arguments of `system dns create`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CreateArguments {
    /// Let containers reach the host's 127.0.0.1 by this address, which nobody else may use, and by the
    /// domain as its name: such as 203.0.113.113 and host.container.internal
    #[arg(long, value_name = "IPV4")]
    localhost: Option<Ipv4Addr>,

    /// Domain, such as test: web.test is then container web
    #[arg(value_name = "DOMAIN")]
    domain: String,
}

pub(super) fn run(arguments: &CreateArguments) -> Result<ExitStatus, Failure> {
    let services = Services::from_environment()?;
    let request = DomainCreateRequest { name: arguments.domain.clone(), localhost: arguments.localhost };
    let created = block_on(services.call(async |client| client.create_domain(&request).await))?;
    output::print(&format!("{}\n", escape::text(&created.name)))?;
    if !created.is_known_to_host && arguments.localhost.is_none() {
        message::warning(&advice(&created));
    }
    Ok(ExitStatus::Success)
}

/// What is left to do on a host without systemd-resolved.
fn advice(created: &DomainCreateResponse) -> String {
    let DomainCreateResponse { name, name_server, .. } = created;
    let dnsmasq = name_server.replace(':', "#");
    format!(
        "the host's resolver cannot be told of '{}', as it is not systemd-resolved: names below it are \
         answered at {name_server}; for dnsmasq: server=/{}/{dnsmasq}",
        escape::text(name),
        escape::text(name)
    )
}

//! `network delete`

use std::sync::Arc;

use clap::Args;

use crate::arguments::{Identifier, Selection};
use crate::commands::block_on;
use crate::commands::bulk::{self, Order};
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::services::Services;
use crate::values::network;

/// Arguments of `network delete`.
#[derive(Args, Clone, Debug)]
pub(crate) struct DeleteArguments {
    /// Delete all networks but the default one
    #[arg(short, long)]
    all: bool,

    /// Do not mind names that do not exist
    #[arg(short, long)]
    force: bool,

    /// Networks to delete
    #[arg(value_name = "NETWORK-NAMES")]
    names: Vec<Identifier>,
}

pub(super) fn run(arguments: &DeleteArguments) -> Result<ExitStatus, Failure> {
    let selection = Selection::resolve("network", arguments.all, &arguments.names)?;
    let force = arguments.force;
    let services = Arc::new(Services::from_environment()?);
    block_on(async {
        let names = match selection {
            Selection::All => {
                let networks = services.call(async |client| client.list_networks().await).await?;
                networks
                    .into_iter()
                    .map(|network| network.id)
                    .filter(|name| name != network::DEFAULT)
                    .collect()
            }
            Selection::These(names) => {
                services.ensure().await?;
                names
            }
        };
        bulk::for_each(names, Order::Completion, |name| {
            let services = Arc::clone(&services);
            async move {
                let deleted = services.call(async |client| client.delete_network(&name).await).await;
                deleted.or_else(|failure| if force { failure.unless_absent() } else { Err(failure) })
            }
        })
        .await
    })
}

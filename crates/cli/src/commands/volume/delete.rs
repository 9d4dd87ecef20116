//! `volume delete`

use std::sync::Arc;

use clap::Args;

use crate::arguments::{Identifier, Selection};
use crate::commands::block_on;
use crate::commands::bulk::{self, Order};
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::services::Services;

/// Arguments of `volume delete`.
#[derive(Args, Clone, Debug)]
pub(crate) struct DeleteArguments {
    /// Delete all volumes
    #[arg(short, long)]
    all: bool,

    /// Do not mind names that do not exist
    #[arg(short, long)]
    force: bool,

    /// Volumes to delete
    #[arg(value_name = "NAMES")]
    names: Vec<Identifier>,
}

pub(super) fn run(arguments: &DeleteArguments) -> Result<ExitStatus, Failure> {
    let selection = Selection::resolve("volume", arguments.all, &arguments.names)?;
    let force = arguments.force;
    let services = Arc::new(Services::from_environment()?);
    block_on(async {
        let names = match selection {
            Selection::All => {
                let volumes = services.call(async |client| client.list_volumes().await).await?;
                volumes.into_iter().map(|volume| volume.id).collect()
            }
            Selection::These(names) => {
                services.ensure().await?;
                names
            }
        };
        bulk::for_each(names, Order::Argument, |name| {
            let services = Arc::clone(&services);
            async move {
                let deleted = services.call(async |client| client.delete_volume(&name).await).await;
                deleted.or_else(|failure| if force { failure.unless_absent() } else { Err(failure) })
            }
        })
        .await
    })
}

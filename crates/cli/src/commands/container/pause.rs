//! `pause` and `unpause`

use std::sync::Arc;

use clap::Args;

use crate::arguments::{Identifier, Selection};
use crate::commands::block_on;
use crate::commands::bulk::{self, Order};
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::services::Services;

/// Arguments of `pause`.
#[derive(Args, Clone, Debug)]
pub(crate) struct PauseArguments {
    /// Pause all running containers
    #[arg(short, long)]
    all: bool,

    /// Containers to pause
    #[arg(value_name = "CONTAINER-IDS")]
    ids: Vec<Identifier>,
}

/// Arguments of `unpause`.
#[derive(Args, Clone, Debug)]
pub(crate) struct UnpauseArguments {
    /// Unpause all paused containers
    #[arg(short, long)]
    all: bool,

    /// Containers to unpause
    #[arg(value_name = "CONTAINER-IDS")]
    ids: Vec<Identifier>,
}

pub(crate) fn pause(arguments: &PauseArguments) -> Result<ExitStatus, Failure> {
    set_paused(true, arguments.all, &arguments.ids)
}

pub(crate) fn unpause(arguments: &UnpauseArguments) -> Result<ExitStatus, Failure> {
    set_paused(false, arguments.all, &arguments.ids)
}

fn set_paused(paused: bool, all: bool, ids: &[Identifier]) -> Result<ExitStatus, Failure> {
    let selection = Selection::resolve("container", all, ids)?;
    let services = Arc::new(Services::from_environment()?);
    block_on(async {
        let ids = match selection {
            // Those that are as wanted already are none of its business.
            Selection::All => {
                let containers = services.call(async |client| client.list_containers(false).await).await?;
                let others = containers.into_iter().filter(|container| container.status.paused != paused);
                others.map(|container| container.id).collect()
            }
            these @ Selection::These(_) => super::list::select(&services, these, false).await?,
        };
        bulk::for_each(ids, Order::Completion, |id| {
            let services = Arc::clone(&services);
            async move { services.call(async |client| client.set_container_paused(&id, paused).await).await }
        })
        .await
    })
}

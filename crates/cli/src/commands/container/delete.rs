//! `delete`

use std::sync::Arc;

use clap::Args;

use crate::arguments::{Identifier, Selection};
use crate::commands::block_on;
use crate::commands::bulk::{self, Order};
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::services::Services;

/// Arguments of `delete`.
#[derive(Args, Clone, Debug)]
pub(crate) struct DeleteArguments {
    /// Delete all containers that do not run; with --force all
    #[arg(short, long)]
    all: bool,

    /// Delete running containers as well
    #[arg(short, long)]
    force: bool,

    /// Delete the containers' anonymous volumes as well
    #[arg(short = 'v', long)]
    volumes: bool,

    /// Containers to delete
    #[arg(value_name = "CONTAINER-IDS")]
    ids: Vec<Identifier>,
}

pub(crate) fn run(arguments: &DeleteArguments) -> Result<ExitStatus, Failure> {
    let selection = Selection::resolve("container", arguments.all, &arguments.ids)?;
    let services = Arc::new(Services::from_environment()?);
    let (force, volumes) = (arguments.force, arguments.volumes);
    block_on(async {
        let ids = match selection {
            Selection::All if !force => super::list::not_running(&services).await?,
            selection => super::list::select(&services, selection, true).await?,
        };
        bulk::for_each(ids, Order::Completion, |id| {
            let services = Arc::clone(&services);
            async move { services.call(async |client| client.delete_container(&id, force, volumes).await).await }
        })
        .await
    })
}

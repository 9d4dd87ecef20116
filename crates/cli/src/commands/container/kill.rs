//! `kill`

use std::sync::Arc;

use bulkhead_api::request::SignalRequest;
use clap::Args;

use crate::arguments::{Identifier, Selection};
use crate::commands::block_on;
use crate::commands::bulk::{self, Order};
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::services::Services;

/// Arguments of `kill`.
#[derive(Args, Clone, Debug)]
pub(crate) struct KillArguments {
    /// Signal all running containers
    #[arg(short, long)]
    all: bool,

    /// Signal to send; KILL waits for the end
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL")]
    signal: String,

    /// Containers to signal
    #[arg(value_name = "CONTAINER-IDS")]
    ids: Vec<Identifier>,
}

pub(crate) fn run(arguments: &KillArguments) -> Result<ExitStatus, Failure> {
    let selection = Selection::resolve("container", arguments.all, &arguments.ids)?;
    let services = Arc::new(Services::from_environment()?);
    let request = SignalRequest { signal: arguments.signal.clone() };
    block_on(async {
        let ids = super::list::select(&services, selection, false).await?;
        bulk::for_each(ids, Order::Argument, |id| {
            let (services, request) = (Arc::clone(&services), request.clone());
            async move { services.call(async |client| client.kill_container(&id, &request).await).await }
        })
        .await
    })
}

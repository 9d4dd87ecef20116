//! `stop`

use std::sync::Arc;

use bulkhead_api::request::StopRequest;
use clap::Args;

use crate::arguments::{Identifier, Selection};
use crate::commands::block_on;
use crate::commands::bulk::{self, Order};
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::services::Services;
use crate::values::patience::Patience;

/// Arguments of `stop`.
#[derive(Args, Clone, Debug)]
pub(crate) struct StopArguments {
    /// Stop all running containers
    #[arg(short, long)]
    all: bool,

    /// Signal to send first [default: the container's stop signal, else SIGTERM]
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<String>,

    /// Seconds to wait before the container is killed [default: the container's, else 5]
    #[arg(short, long, alias = "timeout", value_name = "SECONDS", allow_hyphen_values = true)]
    time: Option<Patience>,

    /// Containers to stop
    #[arg(value_name = "CONTAINER-IDS")]
    ids: Vec<Identifier>,
}

pub(crate) fn run(arguments: &StopArguments) -> Result<ExitStatus, Failure> {
    let selection = Selection::resolve("container", arguments.all, &arguments.ids)?;
    let services = Arc::new(Services::from_environment()?);
    let request = StopRequest {
        signal: arguments.signal.clone(),
        timeout_seconds: arguments.time.map(Patience::seconds),
    };
    block_on(async {
        let ids = super::list::select(&services, selection, false).await?;
        bulk::for_each(ids, Order::Completion, |id| {
            let (services, request) = (Arc::clone(&services), request.clone());
            async move { services.call(async |client| client.stop_container(&id, &request).await).await }
        })
        .await
    })
}

//! `prune`

use bulkhead_api::request::PruneRequest;
use clap::Args;

use crate::arguments::NoQuestion;
use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output;
use crate::output::{escape, images, message};
use crate::services::Services;
use crate::values::filter::prune::{self, PruneFilter};

/// Arguments of `prune`.
#[derive(Args, Clone, Debug)]
pub(crate) struct PruneArguments {
    /// Remove only some: label=KEY[=VALUE], label!=KEY[=VALUE], until=TIME
    #[arg(long, value_name = "FILTER")]
    filter: Vec<PruneFilter>,

    #[command(flatten)]
    no_question: NoQuestion,
}

pub(crate) fn run(arguments: &PruneArguments) -> Result<ExitStatus, Failure> {
    let services = Services::from_environment()?;
    let pruned = block_on(services.call(async |client| {
        let containers = client.list_containers(true).await?;
        let idle = containers.into_iter().filter(|one| prune::is_pruned(&arguments.filter, one));
        client.prune_containers(&PruneRequest { ids: idle.map(|one| one.id).collect() }).await
    }))?;
    output::print(&pruned.ids.iter().map(|id| format!("{}\n", escape::text(id))).collect::<String>())?;
    message::line(&format!("Reclaimed {} in disk space", images::size(pruned.reclaimed_bytes)));
    Ok(ExitStatus::Success)
}

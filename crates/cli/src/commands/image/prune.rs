//! `image prune`

use bulkhead_api::request::PruneImagesRequest;
use clap::Args;

use crate::arguments::NoQuestion;
use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output;
use crate::output::{escape, images, message};
use crate::services::Services;

/// Arguments of `image prune`.
#[derive(Args, Clone, Debug)]
pub(crate) struct PruneArguments {
    /// Remove all images that no container uses, not only those without a tag
    #[arg(short, long)]
    all: bool,

    #[command(flatten)]
    no_question: NoQuestion,
}

pub(super) fn run(arguments: &PruneArguments) -> Result<ExitStatus, Failure> {
    let services = Services::from_environment()?;
    let request = PruneImagesRequest { all: arguments.all };
    let pruned = block_on(services.call(async |client| client.prune_images(&request).await))?;
    let names = pruned.references.iter().map(|name| format!("untagged {}\n", escape::text(name)));
    let digests = pruned.digests.iter().map(|digest| format!("deleted {}\n", escape::text(digest)));
    output::print(&names.chain(digests).collect::<String>())?;
    message::line(&format!("Reclaimed {} in disk space", images::size(pruned.reclaimed_bytes)));
    Ok(ExitStatus::Success)
}

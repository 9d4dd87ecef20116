//! `commit`

use bulkhead_api::request::CommitRequest;
use clap::Args;

use crate::arguments::{Identifier, Truth};
use crate::commands::{block_on, image};
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::services::Services;

/// Arguments of `commit`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CommitArguments {
    /// Who made the image
    #[arg(short, long, value_name = "AUTHOR")]
    author: Option<String>,

    /// Change a default of the image's containers, as a Dockerfile does: 'CMD ["nginx"]', ENV, EXPOSE, …
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,

    /// Note in the image's history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,

    /// Freeze the container's processes meanwhile; with =false, files may be caught half written
    #[arg(short, long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_value = "true", default_missing_value = "true")]
    pause: Truth,

    /// Container that the image is made of
    #[arg(value_name = "CONTAINER-ID")]
    id: Identifier,

    /// Name of the image [default: none, only its id]
    #[arg(value_name = "NAME[:TAG]")]
    reference: Option<Identifier>,
}

pub(crate) fn run(arguments: &CommitArguments) -> Result<ExitStatus, Failure> {
    let request = CommitRequest {
        reference: arguments.reference.as_ref().map(|name| name.as_str().to_owned()),
        author: arguments.author.clone(),
        message: arguments.message.clone(),
        changes: arguments.change.clone(),
        pause: arguments.pause.is_true(),
    };
    let services = Services::from_environment()?;
    let id = arguments.id.as_str();
    block_on(async {
        let events = services.call(async |client| client.commit_container(id, &request).await).await?;
        image::print_made(events).await
    })
}

//! `create`

use bulkhead_api::event::StreamEvent;
use clap::Args;

use crate::arguments::{CreateFlags, ProgressMode};
use crate::attached;
use crate::commands::block_on;
use crate::commands::cidfile::CidFile;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output;
use crate::services::Services;
use crate::terminal::streams::StandardStream;

/// Arguments of `create`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CreateArguments {
    /// Whoever starts it says what of its streams is wanted
    #[arg(long, value_name = "STREAM", ignore_case = true, hide = true)]
    attach: Vec<StandardStream>,
    #[command(flatten)]
    create: CreateFlags,
}

pub(crate) fn run(arguments: &CreateArguments) -> Result<ExitStatus, Failure> {
    let request = arguments.create.resolve("container create")?;
    let services = Services::from_environment()?;
    let cidfile = arguments.create.management.cidfile.as_deref().map(CidFile::reserve).transpose()?;
    let mut progress = arguments.create.progress(ProgressMode::Auto);
    let id = block_on(async {
        let mut events = services.call(async |client| client.create_container(&request).await).await?;
        loop {
            match events.next().await? {
                Some(StreamEvent::Progress { item, completed_bytes, total_bytes }) => {
                    progress.update(&item, completed_bytes, total_bytes);
                }
                Some(StreamEvent::Notice { message }) => progress.notice(&message),
                Some(StreamEvent::Created { id }) => return Ok(id),
                Some(_) => return Err(attached::unexpected("for create")),
                None => return Err(attached::ended_early()),
            }
        }
    })?;
    progress.finish();
    if let Some(cidfile) = cidfile {
        cidfile.write(&id)?;
    }
    output::print(&output::escape::text(&id))?;
    Ok(ExitStatus::Success)
}

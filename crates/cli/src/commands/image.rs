//! Images.

mod delete;
pub(crate) mod history;
mod import;
mod inspect;
mod list;
mod load;
mod prune;
mod pull;
mod push;
mod save;
mod tag;
mod verify;

use bulkhead_api::event::StreamEvent;
use bulkhead_client::EventStream;
use clap::Subcommand;

use crate::arguments::Selection;
use crate::attached;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output::progress::Progress;
use crate::output::{self, message};
use crate::services::Services;

/// Commands about images.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Delete one or more images
    #[command(visible_alias = "rm")]
    Delete(delete::DeleteArguments),
    /// Show how an image came to be, and how large each step made it
    History(history::HistoryArguments),
    /// Make an image of the archive of a root file system, such as `export` writes
    Import(import::ImportArguments),
    /// Display everything about one or more images
    Inspect(inspect::InspectArguments),
    /// List images
    #[command(visible_alias = "ls")]
    List(list::ListArguments),
    /// Load images from an archive
    Load(load::LoadArguments),
    /// Remove images without a tag, or all that no container uses
    Prune(prune::PruneArguments),
    /// Pull an image from a registry
    Pull(pull::PullArguments),
    /// Push an image to a registry
    Push(push::PushArguments),
    /// Save images as an archive
    Save(save::SaveArguments),
    /// Give an image a further name
    Tag(tag::TagArguments),
    /// Compare images with their digests, and mend damaged layers
    Verify(verify::VerifyArguments),
}

pub(super) fn run(command: ImageCommand) -> Result<ExitStatus, Failure> {
    match command {
        ImageCommand::Delete(arguments) => delete::run(&arguments),
        ImageCommand::History(arguments) => history::run(&arguments),
        ImageCommand::Import(arguments) => import::run(&arguments),
        ImageCommand::Inspect(arguments) => inspect::run(&arguments),
        ImageCommand::List(arguments) => list::run(&arguments),
        ImageCommand::Load(arguments) => load::run(&arguments),
        ImageCommand::Prune(arguments) => prune::run(&arguments),
        ImageCommand::Pull(arguments) => pull::run(&arguments),
        ImageCommand::Push(arguments) => push::run(&arguments),
        ImageCommand::Save(arguments) => save::run(&arguments),
        ImageCommand::Tag(arguments) => tag::run(&arguments),
        ImageCommand::Verify(arguments) => verify::run(&arguments),
    }
}

/// Names of the selected images; the services run afterwards.
async fn names(services: &Services, selection: Selection) -> Result<Vec<String>, Failure> {
    match selection {
        Selection::All => services.call(async |client| client.image_names().await).await,
        Selection::These(names) => {
            services.ensure().await?;
            Ok(names)
        }
    }
}

/// Shows progress until the references are known.
async fn follow(mut events: EventStream, mut progress: Progress) -> Result<Vec<String>, Failure> {
    loop {
        match events.next().await? {
            Some(StreamEvent::Progress { item, completed_bytes, total_bytes }) => {
                progress.update(&item, completed_bytes, total_bytes);
            }
            Some(StreamEvent::Notice { message }) => progress.notice(&message),
            Some(StreamEvent::Finished { references }) => return Ok(references),
            Some(_) => return Err(attached::unexpected("about a process")),
            None => return Err(attached::ended_early()),
        }
    }
}

/// Tells the id of an image once it is made.
pub(super) async fn print_made(mut events: EventStream) -> Result<ExitStatus, Failure> {
    loop {
        match events.next().await? {
            Some(StreamEvent::Notice { message }) => message::warning(&message),
            Some(StreamEvent::ImageMade { id }) => {
                output::print(&format!("sha256:{id}"))?;
                return Ok(ExitStatus::Success);
            }
            Some(_) => return Err(attached::unexpected("about something else")),
            None => return Err(attached::ended_early()),
        }
    }
}

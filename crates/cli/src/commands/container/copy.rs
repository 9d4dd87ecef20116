//! `copy`

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};

use bulkhead_api::error::ErrorCode;
use bulkhead_api::files::{ExtractRequest, PackRequest, Placement};
use bulkhead_archive::tree::Top;
use clap::Args;

use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output::{self, archive, escape};
use crate::services::Services;
use crate::transfer::{self, Transfer};
use crate::values::location::{self, Location};

const COMMAND: &str = "container copy";

/// Arguments of `copy`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CopyArguments {
    /// Keep the owners of the files
    #[arg(short, long)]
    archive: bool,

    /// Follow a symbolic link that the source names
    #[arg(short = 'L', long)]
    follow_link: bool,

    /// Does nothing: how far it is is not shown
    #[arg(short, long, hide = true)]
    quiet: bool,

    /// What to copy: container-id:path, a local path, or - for an archive on stdin
    #[arg(value_name = "SOURCE", allow_hyphen_values = false)]
    source: String,

    /// Where to: container-id:path, a local path, or - for an archive on stdout
    #[arg(value_name = "DESTINATION")]
    destination: String,
}

pub(crate) fn run(arguments: &CopyArguments) -> Result<ExitStatus, Failure> {
    let parse = |text: &str| {
        Location::parse(text).map_err(|error| Failure::refused(ErrorCode::InvalidArgument, error.to_string()))
    };
    let refused = |message: &str| Err(Failure::refused(ErrorCode::InvalidArgument, message));
    match (parse(&arguments.source)?, parse(&arguments.destination)?) {
        (Location::Local(source), Location::Container { id, path }) => copy_in(arguments, &source, &id, path),
        (Location::Standard, Location::Container { id, path }) => unpack(&id, path),
        (Location::Container { id, path }, Location::Local(destination)) => {
            copy_out(arguments, &id, path, destination)
        }
        (Location::Container { id, path }, Location::Standard) => pack(arguments, &id, path),
        (Location::Container { .. }, Location::Container { .. }) => {
            refused("copying between containers is not supported")
        }
        _ => refused("one of source or destination must be a container reference (container-id:path)"),
    }
}

fn copy_in(arguments: &CopyArguments, source: &str, id: &str, path: String) -> Result<ExitStatus, Failure> {
    let top = Top::find(source.as_bytes(), arguments.follow_link).map_err(transfer::failure)?;
    let (mut source_name, contents_only) = location::source_name(source);
    if source_name == ".." {
        let whole = std::fs::canonicalize(source).map_err(|error| {
            Failure::caused_by(ErrorCode::NotFound, format!("cannot find '{source}'"), &error)
        })?;
        source_name = whole.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    }
    let shown =
        if path.ends_with('/') { format!("{id}:{path}{source_name}") } else { format!("{id}:{path}") };
    let placement = Placement::Copy { source_name, contents_only };
    let request = ExtractRequest { path, placement, keep_owner: arguments.archive };
    let services = Services::from_environment()?;
    let transfer = Transfer::send(top)?;
    block_on(transfer.follow(async |remote| {
        services.call(async |client| client.extract_files(id, &request, remote).await).await
    }))?;
    output::print(&escape::text(&shown))?;
    Ok(ExitStatus::Success)
}

fn copy_out(
    arguments: &CopyArguments,
    id: &str,
    path: String,
    destination: String,
) -> Result<ExitStatus, Failure> {
    let (source_name, contents_only) = location::source_name(&path);
    let unusable = |error: &io::Error| {
        Failure::caused_by(ErrorCode::InvalidArgument, format!("cannot use '{destination}'"), error)
    };
    let mut shown = std::path::absolute(&destination).map_err(|error| unusable(&error))?;
    if shown.is_dir() && !contents_only {
        shown.push(&source_name);
    }
    let request = PackRequest { path, follow_link: arguments.follow_link, name: ".".to_owned() };
    let services = Services::from_environment()?;
    let transfer = Transfer::receive(destination, source_name, contents_only, arguments.archive)?;
    block_on(transfer.follow(async |remote| {
        services.call(async |client| client.pack_files(id, &request, remote).await).await
    }))?;
    output::print(&escape::text(&shown.to_string_lossy()))?;
    Ok(ExitStatus::Success)
}

/// The archive's own owners count, as with tar(1).
fn unpack(id: &str, path: String) -> Result<ExitStatus, Failure> {
    let input = standard(io::stdin(), "stdin", "the archive to copy is read from it")?;
    let shown = format!("{id}:{path}");
    let request = ExtractRequest { path, placement: Placement::Unpack, keep_owner: true };
    let services = Services::from_environment()?;
    block_on(async {
        let mut events =
            services.call(async |client| client.extract_files(id, &request, input.as_fd()).await).await?;
        transfer::follow(&mut events).await
    })?;
    output::print(&escape::text(&shown))?;
    Ok(ExitStatus::Success)
}

fn pack(arguments: &CopyArguments, id: &str, path: String) -> Result<ExitStatus, Failure> {
    let output = standard(io::stdout(), "stdout", "the archive would be written to it")?;
    let (source_name, contents_only) = location::source_name(&path);
    let name = if contents_only || source_name.is_empty() { ".".to_owned() } else { source_name };
    let request = PackRequest { path, follow_link: arguments.follow_link, name };
    let services = Services::from_environment()?;
    block_on(async {
        let mut events =
            services.call(async |client| client.pack_files(id, &request, output.as_fd()).await).await?;
        transfer::follow(&mut events).await
    })
    .map_err(archive::unless_unread)?;
    Ok(ExitStatus::Success)
}

/// A standard stream that is no terminal.
fn standard(stream: impl AsFd + IsTerminal, name: &str, why: &str) -> Result<OwnedFd, Failure> {
    if stream.is_terminal() {
        let message = format!("{name} is a terminal, and {why}");
        return Err(Failure::Usage { message, command: COMMAND.to_owned() });
    }
    stream.as_fd().try_clone_to_owned().map_err(|error| {
        Failure::caused_by(ErrorCode::InternalError, format!("cannot pass on {name}"), &error)
    })
}

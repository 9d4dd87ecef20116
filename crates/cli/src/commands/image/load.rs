//! `image load`

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use bulkhead_api::error::ErrorCode;
use bulkhead_api::request::LoadRequest;
use clap::Args;

use crate::arguments::ProgressMode;
use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output;
use crate::output::escape;
use crate::output::progress::Progress;
use crate::services::Services;

/// Arguments of `image load`.
#[derive(Args, Clone, Debug)]
pub(crate) struct LoadArguments {
    /// Archive to read [default: stdin]
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,

    /// Load what is valid of a damaged archive
    #[arg(short, long)]
    force: bool,
}

pub(super) fn run(arguments: &LoadArguments) -> Result<ExitStatus, Failure> {
    if arguments.force {
        return Err(Failure::unsupported("--force of image load"));
    }
    let (source, archive) = open(arguments.input.as_deref(), || Failure::Usage {
        message: "stdin is a terminal: name an archive with --input".to_owned(),
        command: "container image load".to_owned(),
    })?;
    let request = LoadRequest { source };
    let services = Services::from_environment()?;
    let references = block_on(async {
        let events =
            services.call(async |client| client.load_images(&request, archive.as_fd()).await).await?;
        super::follow(events, Progress::new(ProgressMode::Auto)).await
    })?;
    let lines: String = references.iter().map(|name| format!("{}\n", escape::text(name))).collect();
    output::print(&lines)?;
    Ok(ExitStatus::Success)
}

/// Name and descriptor of an archive; without a path stdin, which `is_terminal` refuses.
pub(super) fn open(
    path: Option<&Path>,
    is_terminal: impl FnOnce() -> Failure,
) -> Result<(String, OwnedFd), Failure> {
    let failed = |source: &str, error: &io::Error| {
        let code = match error.kind() {
            io::ErrorKind::NotFound => ErrorCode::NotFound,
            _ => ErrorCode::InvalidArgument,
        };
        Failure::caused_by(code, format!("cannot read the archive '{source}'"), error)
    };
    match path {
        Some(path) => {
            let source = path.display().to_string();
            let file = File::open(path).map_err(|error| failed(&source, &error))?;
            Ok((source, file.into()))
        }
        None if io::stdin().is_terminal() => Err(is_terminal()),
        None => {
            let stdin = io::stdin().as_fd().try_clone_to_owned();
            Ok(("stdin".to_owned(), stdin.map_err(|error| failed("stdin", &error))?))
        }
    }
}

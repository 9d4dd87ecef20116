//! `completion`

use bulkhead_api::error::ErrorCode;
use clap::{Args, ValueEnum};

use crate::completion;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output;

/// Arguments of `completion`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CompletionArguments {
    /// Shell that is to complete words
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// Shells that can ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

pub(super) fn run(arguments: &CompletionArguments) -> Result<ExitStatus, Failure> {
    let shell = match arguments.shell {
        Shell::Bash => "bash",
        Shell::Zsh => "zsh",
        Shell::Fish => "fish",
    };
    match completion::script(shell) {
        Some(Ok(script)) => output::print(&script)?,
        Some(Err(error)) => {
            return Err(Failure::caused_by(ErrorCode::InternalError, "cannot write the script", &error));
        }
        None => return Err(Failure::unsupported(&format!("completion for {shell}"))),
    }
    Ok(ExitStatus::Success)
}

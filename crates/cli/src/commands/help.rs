//! `help [path…]`

use clap::Args;

use crate::command_line;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output;

/// Arguments of `help`.
#[derive(Args, Clone, Debug)]
pub(crate) struct HelpArguments {
    /// Command to explain
    #[arg(value_name = "SUBCOMMAND")]
    path: Vec<String>,
}

pub(super) fn run(arguments: &HelpArguments) -> Result<ExitStatus, Failure> {
    let path: Vec<&str> = arguments.path.iter().map(String::as_str).collect();
    let Some(text) = command_line::help(&path) else {
        return Err(Failure::Usage {
            message: format!("unknown command '{}'", path.join(" ")),
            command: "container".to_owned(),
        });
    };
    output::print(&text)?;
    Ok(ExitStatus::Success)
}

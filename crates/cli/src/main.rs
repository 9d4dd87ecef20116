//! The container command.
//!
//! Parsing has two steps: clap fills the raw flags of [`arguments`], whose values are already typed
//! ([`values`]); a command resolves them into one request of the HTTP interface. Results go to stdout
//! through [`output`], everything for people goes to stderr.

mod arguments;
mod attached;
mod command_line;
mod commands;
mod completion;
mod daemon;
mod exit_status;
mod failure;
mod output;
mod services;
mod spelling;
mod ssh_agent;
mod template;
mod terminal;
mod transfer;
mod values;

use std::process::ExitCode;

use command_line::Parsed;
use exit_status::ExitStatus;

fn main() -> ExitCode {
    match completion::answer(command_line::grammar) {
        Ok(false) => {}
        Ok(true) => return ExitStatus::Success.into(),
        Err(error) => {
            output::message::line(&output::escape::text(&error.to_string()));
            return ExitStatus::Failure.into();
        }
    }
    let status = match command_line::parse(std::env::args_os()) {
        Ok(Parsed::Command(command)) => {
            let own_failure = command.own_failure();
            commands::run(command).unwrap_or_else(|failure| failure.report(own_failure))
        }
        Ok(Parsed::Text(text)) => match output::print(&text) {
            Ok(()) => ExitStatus::Success,
            Err(failure) => failure.report(exit_status::OwnFailure::Plain),
        },
        Err(failure) => failure.report(exit_status::OwnFailure::Plain),
    };
    status.into()
}

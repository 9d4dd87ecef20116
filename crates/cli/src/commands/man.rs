//! `man`, which is hidden: writes a manual page for each command.

use std::fs;
use std::path::{Path, PathBuf};

use bulkhead_api::error::ErrorCode;
use clap::{Args, Command};

use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output::version;

/// Arguments of `man`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ManArguments {
    /// Folder of the pages; pages that are there already are replaced
    #[arg(value_name = "DIRECTORY")]
    folder: PathBuf,
}

pub(super) fn run(arguments: &ManArguments) -> Result<ExitStatus, Failure> {
    let mut grammar = crate::command_line::grammar();
    grammar.build();
    fs::create_dir_all(&arguments.folder).map_err(|error| failed(&arguments.folder, &error))?;
    write(&arguments.folder, grammar, "container")?;
    Ok(ExitStatus::Success)
}

/// `container-image-pull.1`, as git names its pages.
fn write(folder: &Path, command: Command, name: &str) -> Result<(), Failure> {
    for subcommand in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = format!("{name}-{}", subcommand.get_name());
        write(folder, subcommand.clone(), &name)?;
    }
    let page = clap_mangen::Man::new(command)
        .title(name.to_uppercase())
        .date("")
        .source(format!("Bulkhead {}", version::VERSION))
        .manual("Bulkhead");
    let mut text = Vec::new();
    page.render(&mut text).map_err(|error| failed(folder, &error))?;
    let path = folder.join(format!("{name}.1"));
    fs::write(&path, text).map_err(|error| failed(&path, &error))
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::caused_by(ErrorCode::InternalError, format!("cannot write '{}'", path.display()), error)
}

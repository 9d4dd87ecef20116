//! Running other programs, with errors that name them.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::repository;

/// Runs to the end; fails on any status but 0.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("cannot run {name}"))?;
    if !status.success() {
        bail!("{name} failed: {status}");
    }
    Ok(())
}

/// Runs to the end and returns stdout; stderr is shown.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        bail!("{name} failed: {}", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("{name} printed something else than text"))
}

/// cargo in the host workspace.
pub(crate) fn cargo(arguments: &[&str]) -> Result<()> {
    run(Command::new("cargo").args(arguments).current_dir(repository::root()))
}

/// cargo in the workspace of the server of host folders.
pub(crate) fn file_server_cargo(arguments: &[&str]) -> Result<()> {
    run(Command::new("cargo").args(arguments).current_dir(repository::root().join("file-server")))
}

/// cargo in the guest workspace, which has its own target and flags.
pub(crate) fn guest_cargo(arguments: &[&str]) -> Result<()> {
    run(Command::new("cargo").args(arguments).current_dir(repository::root().join("guest")))
}

//! Running other programs, with errors that name them.

use std::env;
use std::ffi::OsStr;
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
    run(cargo_in("").args(arguments))
}

/// cargo in the workspace of the server of host folders.
pub(crate) fn file_server_cargo(arguments: &[&str]) -> Result<()> {
    run(cargo_in("file-server").args(arguments))
}

/// cargo in the guest workspace, which has its own target and flags.
pub(crate) fn guest_cargo(arguments: &[&str]) -> Result<()> {
    run(cargo_in("guest").args(arguments))
}

/// Without what `cargo xtask` tells of the package xtask: build scripts that look at it (ring's) would run anew, and
/// all that is above them, whenever cargo is called by hand and by us in turn.
pub(crate) fn cargo_in(folder: &str) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(repository::root().join(folder));
    let of_package = |name: &OsStr| {
        let name = name.as_encoded_bytes();
        name.starts_with(b"CARGO_PKG_") || name.starts_with(b"CARGO_MANIFEST_")
    };
    for (name, _) in env::vars_os().filter(|(name, _)| of_package(name)) {
        command.env_remove(name);
    }
    command
}

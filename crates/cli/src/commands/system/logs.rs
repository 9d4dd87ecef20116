//! `system logs`
//!
//! Read from the files themselves: why services do not start must be readable while they do not run.

mod follow;
mod merge;

use std::path::PathBuf;
use std::time::SystemTime;

use bulkhead_api::error::ErrorCode;
use clap::Args;

use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output::{self, escape};
use crate::services::Services;
use crate::values::age::Age;

/// Arguments of `system logs`.
#[derive(Args, Clone, Debug)]
pub(crate) struct LogsArguments {
    /// Go on until interrupted
    #[arg(short, long)]
    follow: bool,

    /// How far to go back: a number of seconds, or one with suffix m, h or d
    #[arg(long, value_name = "TIME", default_value = "5m")]
    last: Age,
}

pub(super) fn run(arguments: &LogsArguments) -> Result<ExitStatus, Failure> {
    let folder = log_root()?;
    // Before reading, so that nothing which is written meanwhile is missed.
    let watch = if arguments.follow { Some(follow::Watch::new(&folder).map_err(failed)?) } else { None };
    let since = jiff::Timestamp::try_from(SystemTime::now() - arguments.last.duration())
        .map_or_else(|_| String::new(), |time| format!("{time:.6}"));
    let mut logs = merge::Logs::open(&folder, since);
    loop {
        for line in logs.read().map_err(failed)? {
            output::print(&escape::text(&line))?;
        }
        match &watch {
            Some(watch) => watch.wait().map_err(failed)?,
            None => return Ok(ExitStatus::Success),
        }
    }
}

/// Services may have been started with another log root than this environment's.
fn log_root() -> Result<PathBuf, Failure> {
    let services = Services::from_environment()?;
    let status = block_on(async { Ok(services.client().system_status().await) })?;
    let told = status.ok().and_then(|status| status.log_root).map(PathBuf::from);
    Ok(told.unwrap_or_else(|| services.directories().log_root.clone()))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: std::io::Error) -> Failure {
    Failure::caused_by(ErrorCode::InternalError, "cannot read the logs of container services", &error)
}

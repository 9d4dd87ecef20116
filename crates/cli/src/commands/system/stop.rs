//! `system stop`

use std::path::PathBuf;

use bulkhead_client::ClientError;
use bulkhead_paths::Directories;
use clap::Args;

use crate::commands::block_on;
use crate::daemon;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::services::{self, Services};

/// Arguments of `system stop`.
#[derive(Args, Clone, Debug)]
pub(crate) struct StopArguments {
    /// Accepted for compatibility: there is one set of services for each user
    #[arg(short, long, value_name = "PREFIX")]
    prefix: Option<String>,
}

pub(super) fn run(_: &StopArguments) -> Result<ExitStatus, Failure> {
    let services = Services::from_environment()?;
    block_on(async {
        let client = services.client();
        let mut status = client.system_status().await;
        if is_absent(&status) && services.directories().has_traces() {
            // It died: what it left is only known to another.
            daemon::start(services.directories(), daemon::DEFAULT_TIMEOUT)?;
            status = client.system_status().await;
        }
        if is_absent(&status) {
            return Ok(ExitStatus::Success);
        }
        let directories = match status {
            // The services may have been started with another app root than this environment's.
            Ok(status) => {
                Directories { app_root: PathBuf::from(status.app_root), ..services.directories().clone() }
            }
            // Damaged as they may be, they are to end.
            Err(_) => services.directories().clone(),
        };
        client.shut_down().await?;
        daemon::await_end(&directories)?;
        Ok(ExitStatus::Success)
    })
}

fn is_absent<T>(outcome: &Result<T, ClientError>) -> bool {
    matches!(outcome, Err(ClientError::Unreachable { source, .. }) if services::is_absent(source))
}

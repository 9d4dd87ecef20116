//! `network prune`

use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output;
use crate::output::escape;
use crate::services::Services;

pub(super) fn run() -> Result<ExitStatus, Failure> {
    let services = Services::from_environment()?;
    let pruned = block_on(services.call(async |client| client.prune_networks().await))?;
    output::print(&pruned.names.iter().map(|name| format!("{}\n", escape::text(name))).collect::<String>())?;
    Ok(ExitStatus::Success)
}

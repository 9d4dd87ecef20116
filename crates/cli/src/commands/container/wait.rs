//! `wait`

use std::sync::Arc;
use std::time::Duration;

use bulkhead_client::ClientError;
use clap::Args;

use crate::arguments::Identifier;
use crate::commands::block_on;
use crate::commands::bulk::{self, Order};
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::services::Services;

/// How often the apiserver may go away in the middle: it knows the exit code afterwards, too.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);

/// Arguments of `wait`.
#[derive(Args, Clone, Debug)]
pub(crate) struct WaitArguments {
    /// Containers to wait for
    #[arg(required = true, value_name = "CONTAINER-IDS")]
    ids: Vec<Identifier>,
}

pub(crate) fn run(arguments: &WaitArguments) -> Result<ExitStatus, Failure> {
    let services = Arc::new(Services::from_environment()?);
    let ids = arguments.ids.iter().map(|id| id.as_str().to_owned()).collect();
    block_on(async {
        services.ensure().await?;
        bulk::print_each(ids, Order::Argument, |id| {
            let services = Arc::clone(&services);
            async move { exit_code(&services, &id).await }
        })
        .await
    })
}

async fn exit_code(services: &Services, id: &str) -> Result<String, Failure> {
    let mut attempt = 1;
    loop {
        match services.client().wait_for_container(id).await {
            Err(ClientError::Unreachable { .. } | ClientError::Protocol(_)) if attempt < ATTEMPTS => {
                attempt += 1;
                tokio::time::sleep(PAUSE).await;
                services.ensure().await?;
            }
            outcome => return Ok(outcome?.exit_code.to_string()),
        }
    }
}

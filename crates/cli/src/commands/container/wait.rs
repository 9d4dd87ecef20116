//! `wait`

use std::sync::Arc;
use std::time::Duration;

use bulkhead_api::container::ContainerSnapshot;
use bulkhead_api::error::ErrorCode;
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
    let known = services.call(async |client| client.container(id).await).await?;
    let mut name = id.to_owned();
    let mut attempt = 1;
    loop {
        match services.client().wait_for_container(&name).await {
            Err(ClientError::Unreachable { .. } | ClientError::Abandoned(_) | ClientError::Protocol(_))
                if attempt < ATTEMPTS =>
            {
                attempt += 1;
                tokio::time::sleep(PAUSE).await;
                let all = services.call(async |client| client.list_containers(true).await).await?;
                name = present_name(&known, &all)?;
            }
            outcome => return Ok(outcome?.exit_code.to_string()),
        }
    }
}

/// What the container is called now: it may have been renamed meanwhile, and another may have its name.
fn present_name(known: &ContainerSnapshot, all: &[ContainerSnapshot]) -> Result<String, Failure> {
    all.iter().find(|one| is_same(known, one)).map(|one| one.id.clone()).ok_or_else(|| {
        let message = format!("container '{}' was removed while the services were away", known.id);
        Failure::refused(ErrorCode::NotFound, message)
    })
}

/// By what no other container has, and no renaming changes.
fn is_same(one: &ContainerSnapshot, other: &ContainerSnapshot) -> bool {
    let creation = |snapshot: &ContainerSnapshot| {
        let configuration = &snapshot.configuration;
        (configuration.creation_time_us, configuration.creation_date.clone())
    };
    creation(one) == creation(other)
}

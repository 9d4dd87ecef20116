//! `image delete`

use std::sync::Arc;

use bulkhead_api::error::ErrorCode;
use bulkhead_client::{Client, ClientError};
use clap::Args;

use crate::arguments::{Identifier, Selection};
use crate::commands::block_on;
use crate::commands::bulk::{self, Order};
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::services::Services;

/// Arguments of `image delete`.
#[derive(Args, Clone, Debug)]
pub(crate) struct DeleteArguments {
    /// Delete all images
    #[arg(short, long)]
    all: bool,

    /// Ignore images that do not exist
    #[arg(short, long)]
    force: bool,

    /// Images to delete
    #[arg(value_name = "IMAGES")]
    images: Vec<Identifier>,
}

pub(super) fn run(arguments: &DeleteArguments) -> Result<ExitStatus, Failure> {
    let selection = Selection::resolve("image", arguments.all, &arguments.images)?;
    let services = Arc::new(Services::from_environment()?);
    let force = arguments.force;
    block_on(async {
        let names = super::names(&services, selection).await?;
        bulk::for_each(names, Order::Argument, |name| {
            let services = Arc::clone(&services);
            async move {
                let delete = async |client: &Client| match client.delete_image(&name).await {
                    Err(ClientError::Api(error)) if force && error.code == ErrorCode::NotFound => Ok(()),
                    other => other,
                };
                services.call(delete).await
            }
        })
        .await
    })
}

//! `image verify`

use bulkhead_api::request::VerifyImageRequest;
use clap::Args;

use crate::arguments::{Identifier, Selection};
use crate::commands::block_on;
use crate::commands::bulk::{self, Order};
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output::{escape, message};
use crate::services::Services;

/// Arguments of `image verify`.
#[derive(Args, Clone, Debug)]
pub(crate) struct VerifyArguments {
    /// Verify all images
    #[arg(short, long)]
    all: bool,

    /// Images to verify
    #[arg(value_name = "IMAGES")]
    images: Vec<Identifier>,
}

pub(super) fn run(arguments: &VerifyArguments) -> Result<ExitStatus, Failure> {
    let selection = Selection::resolve("image", arguments.all, &arguments.images)?;
    let services = Services::from_environment()?;
    block_on(async {
        let names = super::names(&services, selection).await?;
        bulk::for_each(names, Order::Argument, |reference| {
            let client = services.client().clone();
            async move {
                let verified = client.verify_image(&VerifyImageRequest { reference }).await?;
                for layer in &verified.repaired {
                    let (name, layer) = (escape::text(&verified.reference), escape::text(layer));
                    message::line(&format!("{name}: the damaged layer {layer} was made anew"));
                }
                Ok(())
            }
        })
        .await
    })
}

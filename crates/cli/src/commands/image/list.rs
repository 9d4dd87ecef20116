//! `image list`

use bulkhead_api::image::ImageResource;
use clap::Args;

use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output;
use crate::output::format::{self, Format};
use crate::output::{images, render};
use crate::services::Services;
use crate::values::filter;
use crate::values::filter::image::{ImageFilter, Pattern};

/// Arguments of `image list`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ListArguments {
    /// Show only images of this name, in which * stands for any part
    #[arg(value_name = "NAME")]
    name: Option<Pattern>,

    /// Show only some: reference=, label=, before=, since=, until=, dangling=
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<ImageFilter>,

    /// Docker's words for what this does anyway
    #[arg(short, long, hide = true)]
    all: bool,

    #[arg(long, hide = true)]
    no_trunc: bool,

    /// Format of the output, or a template: '{{.configuration.name}}'
    #[arg(long, default_value = "table", value_parser = format::parser::<ImageResource>())]
    format: Format,

    /// Show names only
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,

    /// Show a row for each platform
    #[arg(short, long)]
    verbose: bool,
}

pub(super) fn run(arguments: &ListArguments) -> Result<ExitStatus, Failure> {
    let services = Services::from_environment()?;
    let mut found = block_on(services.call(async |client| client.list_images().await))?;
    if let Some(name) = arguments.name.clone() {
        found = filter::select(&[ImageFilter::Reference(name)], found)?;
    }
    let found = filter::select(&arguments.filter, found)?;
    let text = if arguments.verbose && arguments.format == Format::Table {
        images::verbose(&found)
    } else {
        render::list(&found, &arguments.format, arguments.quiet)?
    };
    output::print(&text)?;
    Ok(ExitStatus::Success)
}

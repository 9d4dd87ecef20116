//! How the objects of a noun are listed.

use std::marker::PhantomData;

use clap::Args;

use crate::output::format::{self, Format};
use crate::output::vocabulary::Templated;

/// Arguments of `network list`, `volume list` and `system dns list`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ListFlags<T: Templated + Clone + std::fmt::Debug + Send + Sync> {
    /// Format of the output, or a template: '{{.id}}'
    #[arg(long, default_value = "table", value_parser = format::parser::<T>())]
    pub(crate) format: Format,

    /// Show names only
    #[arg(short, long)]
    pub(crate) quiet: bool,

    #[arg(skip)]
    objects: PhantomData<T>,
}

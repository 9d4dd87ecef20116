//! How the objects of a noun are listed.

use clap::Args;

use crate::output::format::Format;

/// Arguments of `network list`, `volume list` and `system dns list`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ListFlags {
    /// Format of the output
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,

    /// Show names only
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

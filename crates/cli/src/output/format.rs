//! Formats of lists.

use clap::ValueEnum;

/// Value of `--format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Json,
    #[default]
    Table,
    Yaml,
    Toml,
}

//! How progress is shown.

use clap::{Args, ValueEnum};

/// Flags of progress.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "PROGRESS OPTIONS")]
pub(crate) struct ProgressFlags {
    /// How progress is shown; auto is plain unless stderr is a terminal
    #[arg(long, value_enum, default_value_t)]
    pub(crate) progress: ProgressMode,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressMode {
    #[default]
    Auto,
    None,
    Ansi,
    Plain,
    Color,
}

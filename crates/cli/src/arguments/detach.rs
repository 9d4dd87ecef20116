//! How a terminal is left.

use bulkhead_api::detach_keys::DetachKeys;
use clap::Args;

/// Flags of everything that lends its terminal.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct DetachFlags {
    /// Keys that leave the terminal and let the process go on; empty for none
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    pub(crate) detach_keys: DetachKeys,
}

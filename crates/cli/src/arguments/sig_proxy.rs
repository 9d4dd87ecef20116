//! Whether signals of this command are the process's.

use clap::{ArgAction, Args};

/// `--sig-proxy`
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct SigProxyFlag {
    /// Pass signals on to the process, unless it has a terminal
    #[arg(long, value_name = "BOOLEAN", action = ArgAction::Set, default_value_t = true, num_args = 0..=1,
        require_equals = true, default_missing_value = "true")]
    pub(crate) sig_proxy: bool,
}

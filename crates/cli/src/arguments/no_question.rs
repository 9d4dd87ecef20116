//! What scripts say to tools that ask before they remove something.

use clap::Args;

/// `-f`
#[derive(Args, Clone, Debug)]
pub(crate) struct NoQuestion {
    /// Does nothing: there is no question to answer
    #[arg(short, long, hide = true)]
    force: bool,
}

//! How an image is fetched.

use std::num::NonZeroUsize;

use clap::Args;

/// Flags of a fetch.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "IMAGE FETCH OPTIONS")]
pub(crate) struct FetchFlags {
    /// Most layers that are downloaded at once
    #[arg(long, value_name = "NUMBER", default_value = "3")]
    max_concurrent_downloads: NonZeroUsize,
}

impl FetchFlags {
    pub(crate) fn maximum_concurrent_downloads(&self) -> usize {
        self.max_concurrent_downloads.get()
    }
}

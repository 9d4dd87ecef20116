//! Gives memory back after a burst.
//!
//! A list of a hundred containers or the start of fifty takes some MiB for a moment. glibc returns only what is free at
//! the end of its heap; behind a record that stays, everything else would stay as well, for as long as the daemon lives.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

/// Bursts come in series; and an idle daemon must not wake up.
const PAUSE: Duration = Duration::from_secs(10);

/// Must be called before the first thread exists: threads keep the heaps that they have.
pub(crate) fn prepare() {
    // SAFETY: takes numbers. One heap instead of one for each thread; small pieces come from caches of the threads.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Is told of every use.
#[derive(Clone, Debug, Default)]
pub(crate) struct Uses(Arc<Notify>);

impl Uses {
    /// Somebody has been served.
    pub(crate) fn ended(&self) {
        self.0.notify_one();
    }
}

/// Gives back what uses have left. Runs for ever.
pub(crate) async fn trim_after(uses: Uses) {
    loop {
        uses.0.notified().await;
        tokio::time::sleep(PAUSE).await;
        // SAFETY: takes a number; malloc_trim(3) is MT-safe.
        let trim = || unsafe { libc::malloc_trim(0) };
        if let Err(error) = tokio::task::spawn_blocking(trim).await {
            tracing::warn!("cannot trim the heap: {error}");
        }
    }
}

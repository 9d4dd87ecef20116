//! How a registry is spoken to.

use std::time::Duration;

use crate::{Credentials, Scheme};

/// Settings of a [`crate::Client`].
#[derive(Clone, Debug, Default)]
pub struct ClientOptions {
    /// Protocol.
    pub scheme: Scheme,
    /// DNS domain whose hosts are local for [`Scheme::Auto`].
    pub local_domain: Option<String>,
    /// Sent to the registry and its token service, to nobody else.
    pub credentials: Option<Credentials>,
    /// Further hosts (`host` or `host:port`) whose token service may get the credentials. The registry's own host
    /// always may, as may the known ones of Docker Hub and GitLab.
    pub trusted_token_hosts: Vec<String>,
}

/// Bounds on waiting and trying again.
#[derive(Clone, Debug)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// For the head of an answer.
    pub answer: Duration,
    /// For the next bytes of a body, in either direction.
    pub idle: Duration,
    /// For the answer to an upload: the registry may read all of it again.
    pub commit: Duration,
    /// In each such window at least [`Self::min_window_bytes`] of a blob must arrive.
    pub window: Duration,
    /// Less than this per window is a stall, bytes.
    pub min_window_bytes: u64,
    /// Attempts in a row that bring nothing new before giving up.
    pub attempts: u32,
    /// Wait before the second attempt; doubles with each further one.
    pub backoff: Duration,
    /// The longest wait, also where the registry asks for more.
    pub max_backoff: Duration,
    /// When several connections are tried for one blob.
    pub splitting: Splitting,
}

/// When and how a blob is fetched in parts over several connections.
///
/// A blob is converted while it arrives, so one connection suffices wherever the network is faster than that; more
/// only cost the registry. They help where each connection is slow by itself: behind long distances, or a registry
/// that allots each one so much.
#[derive(Clone, Debug)]
pub struct Splitting {
    /// How long one connection is watched before others are added.
    pub watch: Duration,
    /// It is fast enough if it brings this much, or if it is what it is given to that is slow.
    pub enough_bytes_per_second: u64,
    /// Less than this that is left is not worth it.
    pub min_left_bytes: u64,
    /// Length of a part; a part is held in memory.
    pub part_bytes: u64,
    /// Parts that are fetched at once.
    pub parts: usize,
}

impl Default for Splitting {
    fn default() -> Self {
        Self {
            watch: Duration::from_secs(1),
            enough_bytes_per_second: 32 << 20,
            min_left_bytes: 32 << 20,
            part_bytes: 4 << 20,
            parts: 4,
        }
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            idle: Duration::from_secs(30),
            commit: Duration::from_secs(300),
            window: Duration::from_secs(60),
            min_window_bytes: 16 << 10,
            attempts: 4,
            backoff: Duration::from_millis(250),
            max_backoff: Duration::from_secs(20),
            splitting: Splitting::default(),
        }
    }
}

impl Patience {
    /// The wait before attempt number `attempt` (1 is the first repetition), with jitter so that many clients do
    /// not come back at once.
    pub(crate) fn delay(&self, attempt: u32, asked: Option<Duration>) -> Duration {
        let doubled = self.backoff.saturating_mul(1 << attempt.saturating_sub(1).min(16));
        let wanted = asked.unwrap_or(doubled).max(doubled).min(self.max_backoff);
        wanted.mul_f64(0.75 + 0.5 * random_fraction())
    }
}

/// Between 0 and 1; unpredictable enough for jitter.
fn random_fraction() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    f64::from((RandomState::new().hash_one(0_u8) >> 48) as u16) / 65_536.0
}

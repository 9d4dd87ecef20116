//! When a container that has ended is started again.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Docker's restart policies; in JSON and on the command line `no`, `always`, `unless-stopped` or
/// `on-failure[:n]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// After an exit code other than 0.
    OnFailure {
        /// Give up after so many restarts; absent: never.
        maximum_retries: Option<u32>,
    },
    /// Whatever its exit code; also when the service starts.
    Always,
    /// As `Always`, but a container that was stopped stays so when the service starts.
    UnlessStopped,
}

/// Not a restart policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a restart policy is no, always, unless-stopped or on-failure[:times]")]
pub struct InvalidRestartPolicy;

impl RestartPolicy {
    /// Whether it is the default.
    #[must_use]
    pub fn is_no(&self) -> bool {
        *self == Self::No
    }
}

impl FromStr for RestartPolicy {
    type Err = InvalidRestartPolicy;

    fn from_str(text: &str) -> Result<Self, InvalidRestartPolicy> {
        match text.split_once(':') {
            None => match text {
                "no" => Ok(Self::No),
                "always" => Ok(Self::Always),
                "unless-stopped" => Ok(Self::UnlessStopped),
                "on-failure" => Ok(Self::OnFailure { maximum_retries: None }),
                _ => Err(InvalidRestartPolicy),
            },
            Some(("on-failure", count)) if count.bytes().all(|byte| byte.is_ascii_digit()) => {
                let count = count.parse().map_err(|_| InvalidRestartPolicy)?;
                // Docker reads 0 as no limit.
                Ok(Self::OnFailure { maximum_retries: Some(count).filter(|count| *count > 0) })
            }
            Some(_) => Err(InvalidRestartPolicy),
        }
    }
}

impl fmt::Display for RestartPolicy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::No => formatter.write_str("no"),
            Self::Always => formatter.write_str("always"),
            Self::UnlessStopped => formatter.write_str("unless-stopped"),
            Self::OnFailure { maximum_retries: None } => formatter.write_str("on-failure"),
            Self::OnFailure { maximum_retries: Some(count) } => write!(formatter, "on-failure:{count}"),
        }
    }
}

impl TryFrom<String> for RestartPolicy {
    type Error = InvalidRestartPolicy;

    fn try_from(text: String) -> Result<Self, InvalidRestartPolicy> {
        text.parse()
    }
}

impl From<RestartPolicy> for String {
    fn from(policy: RestartPolicy) -> Self {
        policy.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_as_they_are_written() {
        for text in ["no", "always", "unless-stopped", "on-failure", "on-failure:3"] {
            assert_eq!(text.parse::<RestartPolicy>().unwrap().to_string(), text);
        }
        assert_eq!("on-failure:0".parse(), Ok(RestartPolicy::OnFailure { maximum_retries: None }));
        for text in ["", "yes", "Always", "always:3", "on-failure:", "on-failure:-1", "on-failure:+1", "no:1"]
        {
            assert!(text.parse::<RestartPolicy>().is_err(), "{text}");
        }
    }
}

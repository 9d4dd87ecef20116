//! `--ulimit type=soft[:hard]`

use std::str::FromStr;

use bulkhead_api::process::ResourceLimit;

use super::{InvalidValue, invalid};

/// Names of getrlimit(2), lower case and without `RLIMIT_`.
const KINDS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// A resource limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ulimit {
    kind: &'static str,
    soft: u64,
    hard: u64,
}

impl FromStr for Ulimit {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let Some((kind, values)) = text.split_once('=') else {
            return invalid("expected type=soft[:hard]");
        };
        let Some(kind) = KINDS.iter().find(|name| **name == kind) else {
            return invalid(format!("unknown limit '{kind}': expected one of {}", KINDS.join(", ")));
        };
        let (soft, hard) = values.split_once(':').unwrap_or((values, values));
        let (soft, hard) = (parse_value(soft)?, parse_value(hard)?);
        if soft > hard {
            return invalid("the soft limit is above the hard limit");
        }
        Ok(Self { kind, soft, hard })
    }
}

fn parse_value(text: &str) -> Result<u64, InvalidValue> {
    match text {
        "unlimited" | "-1" => Ok(u64::MAX),
        _ => text.parse().map_err(|_| InvalidValue(format!("'{text}' is no limit"))),
    }
}

/// As the interface has them; one of each type.
pub(crate) fn resolve(limits: &[Ulimit]) -> Result<Vec<ResourceLimit>, InvalidValue> {
    for (index, limit) in limits.iter().enumerate() {
        if limits[..index].iter().any(|earlier| earlier.kind == limit.kind) {
            return invalid(format!("the limit '{}' is given twice", limit.kind));
        }
    }
    Ok(limits
        .iter()
        .map(|limit| ResourceLimit {
            limit: format!("RLIMIT_{}", limit.kind.to_ascii_uppercase()),
            soft: limit.soft,
            hard: limit.hard,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        let parse =
            |text: &str| text.parse::<Ulimit>().ok().map(|limit| (limit.kind, limit.soft, limit.hard));
        for (text, expected) in [
            ("nofile=64:128", Some(("nofile", 64, 128))),
            ("nofile=64", Some(("nofile", 64, 64))),
            ("core=unlimited", Some(("core", u64::MAX, u64::MAX))),
            ("stack=8:-1", Some(("stack", 8, u64::MAX))),
            ("nofile=128:64", None),
            ("nofile=", None),
            ("nofile", None),
            ("files=1", None),
            ("nofile=-2", None),
            ("nofile=1:2:3", None),
        ] {
            assert_eq!(parse(text), expected, "{text:?}");
        }
        let twice = ["nofile=1".parse().unwrap(), "nofile=2".parse().unwrap()];
        assert!(resolve(&twice).is_err());
        assert_eq!(resolve(&twice[..1]).unwrap()[0].limit, "RLIMIT_NOFILE");
    }
}

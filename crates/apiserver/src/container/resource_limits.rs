//! `--ulimit`: names and numbers of asm-generic/resource.h.

use bulkhead_api::error::ApiError;
use bulkhead_api::process::ResourceLimit;
use bulkhead_runtime_control as control;

use crate::error::invalid;

/// By number.
const NAMES: [&str; 16] = [
    "RLIMIT_CPU",
    "RLIMIT_FSIZE",
    "RLIMIT_DATA",
    "RLIMIT_STACK",
    "RLIMIT_CORE",
    "RLIMIT_RSS",
    "RLIMIT_NPROC",
    "RLIMIT_NOFILE",
    "RLIMIT_MEMLOCK",
    "RLIMIT_AS",
    "RLIMIT_LOCKS",
    "RLIMIT_SIGPENDING",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
];

/// As the guest takes them.
pub(crate) fn convert(limits: &[ResourceLimit]) -> Result<Vec<control::ResourceLimit>, ApiError> {
    let mut converted: Vec<control::ResourceLimit> = Vec::with_capacity(limits.len());
    for limit in limits {
        let name = limit.limit.escape_default();
        let position = NAMES.iter().position(|known| *known == limit.limit);
        let resource = position
            .and_then(|position| u32::try_from(position).ok())
            .ok_or_else(|| invalid(format!("'{name}' is not a resource limit")))?;
        if limit.soft > limit.hard {
            return Err(invalid(format!("the soft limit of {name} exceeds its hard limit")));
        }
        if converted.iter().any(|known| known.resource == resource) {
            return Err(invalid(format!("the limit {name} is given twice")));
        }
        converted.push(control::ResourceLimit { resource, soft: limit.soft, hard: limit.hard });
    }
    Ok(converted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(name: &str, soft: u64, hard: u64) -> ResourceLimit {
        ResourceLimit { limit: name.to_owned(), soft, hard }
    }

    #[test]
    fn names_become_numbers() {
        let converted = convert(&[limit("RLIMIT_NOFILE", 1, 2), limit("RLIMIT_CORE", 0, u64::MAX)]).unwrap();
        assert_eq!(converted.iter().map(|limit| limit.resource).collect::<Vec<_>>(), [7, 4]);
        assert!(convert(&[limit("NOFILE", 1, 2)]).is_err());
        assert!(convert(&[limit("RLIMIT_NOFILE", 3, 2)]).is_err());
        assert!(convert(&[limit("RLIMIT_CPU", 1, 2), limit("RLIMIT_CPU", 1, 2)]).is_err());
    }
}

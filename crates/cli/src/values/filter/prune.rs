//! Filters of `prune`.

use std::str::FromStr;

use bulkhead_api::container::{ContainerSnapshot, ContainerState};

use super::super::InvalidValue;
use super::super::moment::Moment;
use super::label::LabelFilter;
use super::unknown;

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PruneFilter {
    Label(LabelFilter),
    /// Created before.
    Until(Moment),
}

impl FromStr for PruneFilter {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        if let Some(label) = LabelFilter::parse(text)? {
            return Ok(Self::Label(label));
        }
        match text.split_once('=') {
            Some(("until", value)) => Ok(Self::Until(value.parse()?)),
            _ => unknown("label or until"),
        }
    }
}

/// Whether a container that does not run is to go.
pub(crate) fn is_pruned(filters: &[PruneFilter], container: &ContainerSnapshot) -> bool {
    let idle = container.status.state == ContainerState::Stopped && !container.status.restarting;
    idle && filters.iter().all(|filter| match filter {
        PruneFilter::Label(label) => label.matches(&container.configuration.labels),
        PruneFilter::Until(moment) => container.configuration.creation_time_us < moment.unix_us(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::container::example;
    use super::*;

    #[test]
    fn only_what_does_not_run_is_pruned() {
        let filters =
            |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<PruneFilter>>();
        let stopped = example("stopped", None);
        assert!(is_pruned(&[], &stopped));
        assert!(!is_pruned(&[], &example("running", None)));
        assert!(is_pruned(&filters(&["label=tier=front", "until=2026-01-02T00:00:00Z"]), &stopped));
        assert!(!is_pruned(&filters(&["until=2025-12-31T00:00:00Z"]), &stopped));
        assert!("name=x".parse::<PruneFilter>().is_err());
    }
}

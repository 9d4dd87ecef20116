//! What the actor tells everyone else.

use std::sync::Arc;

use bulkhead_api::container::ContainerState;
use bulkhead_state::StateRecord;

use super::running::Run;

/// Where a container is in its life; see the diagram in [`crate::container`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Stopped,
    Starting,
    Running,
    Stopping,
    /// Stopped until its restart policy starts it again.
    Restarting,
    Removed,
}

impl Phase {
    pub(crate) fn shown(self) -> ContainerState {
        match self {
            Self::Stopped | Self::Starting | Self::Restarting | Self::Removed => ContainerState::Stopped,
            Self::Running => ContainerState::Running,
            Self::Stopping => ContainerState::Stopping,
        }
    }
}

/// Latest state of a container.
#[derive(Clone, Debug)]
pub(crate) struct Status {
    /// Its name, which a handle of it may be too old to know.
    pub(crate) id: String,
    pub(crate) phase: Phase,
    /// Present from Starting to Stopping.
    pub(crate) run: Option<Arc<Run>>,
    pub(crate) record: StateRecord,
}

//! Versions of the programs.

use serde::Serialize;

use super::render::Listed;

/// Version of this program.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Git commit, where the build knows it.
pub(crate) const COMMIT: &str = bulkhead_build_commit::COMMIT;
/// Kind of build.
pub(crate) const BUILD: &str = if cfg!(debug_assertions) { "debug" } else { "release" };

/// What `--version` prints.
pub(crate) fn line() -> String {
    format!("container CLI version {VERSION} (build: {BUILD}, commit: {})", bulkhead_build_commit::short())
}

/// One entry of `system version`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ComponentVersion {
    pub(crate) version: String,
    pub(crate) build_type: String,
    pub(crate) commit: String,
    pub(crate) app_name: String,
}

impl Listed for ComponentVersion {
    const HEADER: &'static [&'static str] = &["COMPONENT", "VERSION", "BUILD", "COMMIT"];

    fn row(&self) -> Vec<String> {
        vec![self.app_name.clone(), self.version.clone(), self.build_type.clone(), self.commit.clone()]
    }

    fn id(&self) -> &str {
        &self.app_name
    }
}

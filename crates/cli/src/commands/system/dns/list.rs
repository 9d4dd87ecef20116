//! `system dns list`

use crate::arguments::ListFlags;
use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output;
use crate::output::render;
use crate::output::render::Listed;
use crate::services::Services;

/// A domain is its name.
impl Listed for String {
    const HEADER: &'static [&'static str] = &["DOMAIN"];

    fn row(&self) -> Vec<String> {
        vec![self.clone()]
    }

    fn id(&self) -> &str {
        self
    }
}

pub(super) fn run(flags: &ListFlags<String>) -> Result<ExitStatus, Failure> {
    let services = Services::from_environment()?;
    let domains = block_on(services.call(async |client| client.list_domains().await))?;
    output::print(&render::list(&domains, &flags.format, flags.quiet)?)?;
    Ok(ExitStatus::Success)
}

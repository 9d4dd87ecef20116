//! `events`

use bulkhead_api::request::EventsQuery;
use bulkhead_api::system_event::SystemEvent;
use clap::Args;

use super::block_on;
use crate::exit_status::{ExitStatus, OwnFailure};
use crate::failure::Failure;
use crate::output;
use crate::output::format::{self, EventFormat, Format, Structure};
use crate::output::{escape, render};
use crate::services::Services;
use crate::values::filter::event::{self, EventFilter};
use crate::values::moment::Moment;

/// Arguments of `events`.
#[derive(Args, Clone, Debug)]
pub(crate) struct EventsArguments {
    /// Show only some: type=, event=, container=, image=, network=, volume=, label=KEY[=VALUE]
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<EventFilter>,

    /// Format of the output: one line for each event, for people, in JSON, or by a template: '{{.action}}'
    #[arg(long, default_value = "plain", value_parser = format::event_parser())]
    format: EventFormat,

    /// Begin with events that have happened since, as far as they are remembered
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,

    /// End then; at once if the time has passed
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
}

pub(crate) fn run(arguments: &EventsArguments) -> Result<ExitStatus, Failure> {
    let services = Services::from_environment()?;
    let query = EventsQuery {
        since_us: arguments.since.map(Moment::unix_us),
        until_us: arguments.until.map(Moment::unix_us),
    };
    block_on(async {
        let mut status = ExitStatus::Success;
        let mut events = services.call(async |client| client.system_events(query).await).await?;
        while let Some(event) = events.next().await? {
            if event::is_wanted(&arguments.filter, &event) {
                let shown = match &arguments.format {
                    EventFormat::Plain => Ok(line(&event)),
                    EventFormat::Json => render::structured(&event, Structure::Json),
                    EventFormat::Template(template) => {
                        render::object_as(&event, &Format::Template(template.clone()))
                    }
                };
                match shown {
                    Ok(text) => output::print(&text)?,
                    // The template may fit the next one.
                    Err(failure @ Failure::Partly { .. }) => status = failure.report(OwnFailure::Plain),
                    Err(failure) => return Err(failure),
                }
            }
        }
        Ok(status)
    })
}

/// `<time> <type> <action> <id> (<name>=<value>, …)`
fn line(event: &SystemEvent) -> String {
    let attributes: Vec<String> =
        event.attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let words = [event.time.as_str(), event.kind.as_str(), event.action.as_str(), event.id.as_str()];
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    let text = format!("{} ({})", words.join(" "), attributes.join(", "));
    escape::text(&text).into_owned()
}

//! `stats`

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use bulkhead_api::container::ContainerState;
use bulkhead_api::error::ErrorCode;
use bulkhead_api::observation::ContainerStatistics;
use bulkhead_client::Client;
use clap::Args;
use tokio::task::JoinSet;

use crate::arguments::Identifier;
use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output::format::{self, Format};
use crate::output::statistics::Sample;
use crate::output::{self, render};
use crate::services::Services;
use crate::terminal::alternate_screen::AlternateScreen;
use crate::terminal::signals::Signals;

/// Between the two readings of which the use of the processor is the difference.
const INTERVAL: Duration = Duration::from_secs(2);

/// Docker's word for the use of the processor, which takes two readings.
const PROCESSOR_WORD: &str = "CPUPerc";

/// Arguments of `stats`.
#[derive(Args, Clone, Debug)]
pub(crate) struct StatsArguments {
    /// Format of the output, or a template: '{{.numProcesses}}'; all but the table are shown once
    #[arg(long, default_value = "table", value_parser = format::parser::<Sample>())]
    format: Format,

    /// Show the first result only
    #[arg(long)]
    no_stream: bool,

    /// Containers to show [default: all running ones]
    #[arg(value_name = "CONTAINER-IDS")]
    ids: Vec<Identifier>,
}

pub(crate) fn run(arguments: &StatsArguments) -> Result<ExitStatus, Failure> {
    let services = Services::from_environment()?;
    block_on(async {
        let ids = running(&services, &arguments.ids).await?;
        let client = services.client();
        if arguments.format != Format::Table {
            let samples = match &arguments.format {
                Format::Template(template) if template.mentions(&[PROCESSOR_WORD]) => {
                    sample(client, &ids).await
                }
                _ => read(client, &ids).await.into_iter().map(Sample::once).collect(),
            };
            output::print(&render::objects_as(&samples, &arguments.format)?)?;
        } else if arguments.no_stream || !io::stdout().is_terminal() {
            output::print(&table(&sample(client, &ids).await))?;
        } else {
            return watch(&services, &arguments.ids).await;
        }
        Ok(ExitStatus::Success)
    })
}

/// Until a signal, which is how it is meant to end.
async fn watch(services: &Services, wanted: &[Identifier]) -> Result<ExitStatus, Failure> {
    let mut signals = Signals::ending();
    let screen = AlternateScreen::enter().map_err(Failure::Output)?;
    let draw = |samples: &[Sample]| {
        let mut stdout = io::stdout().lock();
        let text = table(samples).replace('\n', "\r\n");
        stdout.write_all(format!("{}{text}\r\n", screen.clear()).as_bytes()).and_then(|()| stdout.flush())
    };
    draw(&[]).map_err(Failure::Output)?;
    loop {
        let round = async {
            let ids = running(services, wanted).await?;
            let samples = sample(services.client(), &ids).await;
            if samples.is_empty() {
                tokio::time::sleep(INTERVAL).await;
            }
            Ok::<_, Failure>(samples)
        };
        tokio::select! {
            samples = round => draw(&samples?).map_err(Failure::Output)?,
            number = signals.next() => {
                return Err(Failure::Signal(u8::try_from(number).unwrap_or(u8::MAX)));
            }
        }
    }
}

/// Those of the wanted containers that run; all of the wanted must exist.
async fn running(services: &Services, wanted: &[Identifier]) -> Result<Vec<String>, Failure> {
    let containers = services.call(async |client| client.list_containers(!wanted.is_empty()).await).await?;
    for id in wanted {
        if !containers.iter().any(|container| container.id == id.as_str()) {
            let message = format!("container '{}' not found", id.as_str());
            return Err(Failure::refused(ErrorCode::NotFound, message));
        }
    }
    let chosen = containers.into_iter().filter(|container| {
        container.status.state == ContainerState::Running
            && (wanted.is_empty() || wanted.iter().any(|id| id.as_str() == container.id))
    });
    Ok(chosen.map(|container| container.id).collect())
}

/// Two readings of each.
async fn sample(client: &Client, ids: &[String]) -> Vec<Sample> {
    let before = read(client, ids).await;
    if before.is_empty() {
        return Vec::new();
    }
    let began = Instant::now();
    tokio::time::sleep(INTERVAL).await;
    let after = read(client, ids).await;
    let elapsed = began.elapsed();
    let pairs = after.into_iter().filter_map(|after| {
        let before = before.iter().find(|before| before.id == after.id)?;
        Some(Sample::new(before, after, elapsed))
    });
    pairs.collect()
}

/// All at once, in the order of their ids. One that has ended meanwhile has no numbers.
async fn read(client: &Client, ids: &[String]) -> Vec<ContainerStatistics> {
    let mut tasks = JoinSet::new();
    for id in ids {
        let (client, id) = (client.clone(), id.clone());
        tasks.spawn(async move { client.container_statistics(&id).await });
    }
    let mut statistics: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    statistics.sort_by(|one, other| one.id.cmp(&other.id));
    statistics
}

fn table(samples: &[Sample]) -> String {
    let rows: Vec<_> = samples.iter().map(Sample::row).collect();
    render::table(&Sample::HEADER, &rows)
}

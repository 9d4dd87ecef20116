//! `stats`

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use bulkhead_api::container::{ContainerSnapshot, ContainerState};
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
    /// Show containers that do not run as well
    #[arg(short, long)]
    all: bool,

    /// Format of the output, or a template: '{{.numProcesses}}'; json, yaml and toml are shown once
    #[arg(long, default_value = "table", value_parser = format::parser::<Sample>())]
    format: Format,

    /// Show the first result only
    #[arg(long)]
    no_stream: bool,

    /// Does nothing: ids are never cut off
    #[arg(long, hide = true)]
    no_trunc: bool,

    /// Containers to show [default: all running ones]
    #[arg(value_name = "CONTAINER-IDS")]
    ids: Vec<Identifier>,
}

pub(crate) fn run(arguments: &StatsArguments) -> Result<ExitStatus, Failure> {
    let services = Services::from_environment()?;
    block_on(async {
        let is_document = matches!(arguments.format, Format::Structured(_));
        if !is_document && !arguments.no_stream {
            return watch(&services, arguments).await;
        }
        let chosen = choose(&services, arguments).await?;
        for id in &arguments.ids {
            if !chosen.known.iter().any(|known| known == id.as_str()) {
                return Err(missing(id));
            }
        }
        let client = services.client();
        let takes_two = match &arguments.format {
            Format::Table => true,
            Format::Template(template) => template.mentions(&[PROCESSOR_WORD]),
            _ => false,
        };
        let samples = match takes_two {
            true => sample(client, &chosen).await,
            false => chosen.with_others(read(client, &chosen.running).await.into_iter().map(Sample::once)),
        };
        output::print(&shown(&samples, &arguments.format)?)?;
        Ok(ExitStatus::Success)
    })
}

/// Until a signal, which is how it is meant to end, or until the last of the wanted containers is gone. On a
/// terminal each result takes the place of the one before; elsewhere it follows.
async fn watch(services: &Services, arguments: &StatsArguments) -> Result<ExitStatus, Failure> {
    let mut signals = Signals::ending();
    let first = choose(services, arguments).await?;
    if let Some(id) = arguments.ids.iter().find(|id| !first.known.iter().any(|known| known == id.as_str())) {
        return Err(missing(id));
    }
    let screen =
        io::stdout().is_terminal().then(AlternateScreen::enter).transpose().map_err(Failure::Output)?;
    let draw = |samples: &[Sample]| {
        let text = shown(samples, &arguments.format)?;
        let text = match &screen {
            Some(screen) => {
                format!("{}{}\r\n", screen.clear(), text.trim_end_matches('\n').replace('\n', "\r\n"))
            }
            None if text.is_empty() || text.ends_with('\n') => text,
            None => text + "\n",
        };
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Failure::Output)
    };
    if screen.is_some() {
        draw(&[])?;
    }
    loop {
        let round = async {
            // Who stops the services is not to have them started anew by this.
            let listed =
                services.call_again(async |client| client.list_containers(lists_all(arguments)).await);
            let Some(chosen) = listed.await?.map(|containers| Chosen::among(containers, arguments)) else {
                return Ok(None);
            };
            if chosen.known.is_empty() && !arguments.ids.is_empty() {
                return Ok(None);
            }
            let samples = sample(services.client(), &chosen).await;
            if chosen.running.is_empty() {
                tokio::time::sleep(INTERVAL).await;
            }
            Ok::<_, Failure>(Some(samples))
        };
        tokio::select! {
            samples = round => match samples? {
                Some(samples) => draw(&samples)?,
                None => return Ok(ExitStatus::Success),
            },
            number = signals.next() => {
                return Err(Failure::Signal(u8::try_from(number).unwrap_or(u8::MAX)));
            }
        }
    }
}

fn missing(id: &Identifier) -> Failure {
    Failure::refused(ErrorCode::NotFound, format!("container '{}' not found", id.as_str()))
}

/// What is there of the wanted containers.
#[derive(Debug)]
struct Chosen {
    known: Vec<String>,
    running: Vec<String>,
    is_all: bool,
}

impl Chosen {
    fn among(containers: Vec<ContainerSnapshot>, arguments: &StatsArguments) -> Self {
        let wanted = &arguments.ids;
        let is_wanted = |id: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted.as_str() == id);
        let known: Vec<_> = containers.into_iter().filter(|container| is_wanted(&container.id)).collect();
        let running = known.iter().filter(|container| container.status.state == ContainerState::Running);
        Self {
            running: running.map(|container| container.id.clone()).collect(),
            known: known.into_iter().map(|container| container.id).collect(),
            is_all: arguments.all,
        }
    }

    /// Those that have no numbers as well, if they are wanted.
    fn with_others(&self, samples: impl Iterator<Item = Sample>) -> Vec<Sample> {
        let mut samples: Vec<_> = samples.collect();
        let others = self.known.iter().filter(|_| self.is_all);
        let others: Vec<_> = others
            .filter(|id| !samples.iter().any(|sample| sample.id() == *id))
            .map(|id| Sample::nothing(id))
            .collect();
        samples.extend(others);
        samples.sort_by(|one, other| one.id().cmp(other.id()));
        samples
    }
}

/// Whether those that do not run are to be looked at.
fn lists_all(arguments: &StatsArguments) -> bool {
    arguments.all || !arguments.ids.is_empty()
}

async fn choose(services: &Services, arguments: &StatsArguments) -> Result<Chosen, Failure> {
    let containers = services.call(async |client| client.list_containers(lists_all(arguments)).await).await?;
    Ok(Chosen::among(containers, arguments))
}

/// Two readings of each.
async fn sample(client: &Client, chosen: &Chosen) -> Vec<Sample> {
    let before = read(client, &chosen.running).await;
    if before.is_empty() {
        return chosen.with_others(std::iter::empty());
    }
    let began = Instant::now();
    tokio::time::sleep(INTERVAL).await;
    let after = read(client, &chosen.running).await;
    let elapsed = began.elapsed();
    let pairs = after.into_iter().filter_map(|after| {
        let before = before.iter().find(|before| before.id == after.id)?;
        Some(Sample::new(before, after, elapsed))
    });
    chosen.with_others(pairs)
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

fn shown(samples: &[Sample], format: &Format) -> Result<String, Failure> {
    match format {
        Format::Table => {
            let rows: Vec<_> = samples.iter().map(Sample::row).collect();
            Ok(render::table(&Sample::HEADER, &rows))
        }
        format => render::objects_as(samples, format),
    }
}

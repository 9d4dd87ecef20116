//! `logs`

use std::io::Write;

use bulkhead_api::request::LogsQuery;
use bulkhead_client::LogSource;
use clap::Args;

use crate::arguments::Identifier;
use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::services::Services;
use crate::values::line_count::LineCount;
use crate::values::moment::Moment;

/// Arguments of `logs`.
#[derive(Args, Clone, Debug)]
pub(crate) struct LogsArguments {
    /// Show the console of the virtual machine
    #[arg(long)]
    boot: bool,

    /// Docker's word for attributes of lines, of which there are none
    #[arg(long, hide = true, conflicts_with = "boot")]
    details: bool,

    /// Go on until the container stops
    #[arg(short, long)]
    follow: bool,

    /// Show only the last lines
    #[arg(short = 'n', long = "tail", value_name = "LINES", allow_negative_numbers = true)]
    lines: Option<LineCount>,

    /// Show only what was written since
    #[arg(long, value_name = "TIME", conflicts_with = "boot")]
    since: Option<Moment>,

    /// Begin each line with the time at which it was written
    #[arg(short, long, conflicts_with = "boot")]
    timestamps: bool,

    /// Show only what was written until then
    #[arg(long, value_name = "TIME", conflicts_with = "boot")]
    until: Option<Moment>,

    /// Container whose output is shown
    #[arg(value_name = "CONTAINER-ID")]
    id: Identifier,
}

pub(crate) fn run(arguments: &LogsArguments) -> Result<ExitStatus, Failure> {
    let services = Services::from_environment()?;
    let query = LogsQuery {
        follow: arguments.follow,
        tail: arguments.lines.and_then(|lines| lines.0),
        boot: arguments.boot,
        since_us: arguments.since.map(Moment::unix_us),
        until_us: arguments.until.map(Moment::unix_us),
        timestamps: arguments.timestamps,
    };
    block_on(async {
        let id = arguments.id.as_str();
        let mut logs = services.call(async |client| client.container_logs(id, query).await).await?;
        while let Some(chunk) = logs.next().await? {
            // As written: the bytes are the container's own output.
            match chunk.source {
                LogSource::Stdout => write(std::io::stdout().lock(), &chunk.bytes),
                LogSource::Stderr => write(std::io::stderr().lock(), &chunk.bytes),
            }
            .map_err(Failure::Output)?;
        }
        Ok(ExitStatus::Success)
    })
}

fn write(mut output: impl Write, bytes: &[u8]) -> std::io::Result<()> {
    output.write_all(bytes)?;
    output.flush()
}

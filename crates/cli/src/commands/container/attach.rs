//! `attach`

use bulkhead_api::container::ContainerState;
use bulkhead_api::error::ErrorCode;
use clap::Args;

use crate::arguments::{DetachFlags, Identifier, ProgressMode, SigProxyFlag};
use crate::attached::Session;
use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output::progress::Progress;
use crate::services::Services;
use crate::terminal::streams::Streams;

/// Arguments of `attach`.
#[derive(Args, Clone, Debug)]
pub(crate) struct AttachArguments {
    /// Show the output only
    #[arg(long)]
    no_stdin: bool,

    #[command(flatten)]
    detach: DetachFlags,

    #[command(flatten)]
    signals: SigProxyFlag,

    /// Running container
    #[arg(value_name = "CONTAINER-ID")]
    id: Identifier,
}

pub(crate) fn run(arguments: &AttachArguments) -> Result<ExitStatus, Failure> {
    let services = Services::from_environment()?;
    let id = arguments.id.as_str();
    let outcome = block_on(async {
        let snapshot = services.call(async |client| client.container(id).await).await?;
        if snapshot.status.state == ContainerState::Stopped {
            return Err(Failure::refused(
                ErrorCode::InvalidState,
                format!("container '{id}' is not running: it cannot be attached to"),
            ));
        }
        let terminal = snapshot.configuration.init_process.terminal;
        let streams = match arguments.no_stdin {
            true => Streams::output(terminal)?,
            false => Streams::attached(terminal, true, "container attach")?,
        };
        let streams = streams.leaving_by(&arguments.detach.detach_keys);
        let client = services.client().clone();
        let mut session = Session::new(client, streams, Progress::new(ProgressMode::None));
        if !arguments.signals.sig_proxy {
            session = session.keeping_signals();
        }
        session.hand_over()?;
        let request = session.streams().request();
        let descriptors = session.streams().descriptors();
        let events =
            services.call(async |client| client.attach_container(id, &request, &descriptors).await).await?;
        drop(descriptors);
        session.follow(events).await
    })?;
    outcome.conclude()
}

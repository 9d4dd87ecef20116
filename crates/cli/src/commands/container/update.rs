//! `update`

use std::sync::Arc;

use bulkhead_api::request::UpdateRequest;
use bulkhead_api::restart::RestartPolicy;
use clap::Args;

use crate::arguments::{Identifier, Selection};
use crate::commands::block_on;
use crate::commands::bulk::{self, Order};
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output::message;
use crate::services::Services;
use crate::values::memory_size::MemorySize;
use crate::values::pids_limit::PidsLimit;
use crate::values::processors::Processors;

/// Arguments of `update`.
#[derive(Args, Clone, Debug)]
pub(crate) struct UpdateArguments {
    /// Number of CPUs, or the share of one that the container may use, as 0.5
    #[arg(short, long, value_name = "NUMBER")]
    cpus: Option<Processors>,

    /// Memory, with suffix K, M, G, T or P
    #[arg(short, long, value_name = "SIZE")]
    memory: Option<MemorySize>,

    /// Limit the number of processes and threads; -1 does not
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pids_limit: Option<PidsLimit>,

    /// When to start the container again after it ended: no, always, unless-stopped, on-failure[:TIMES]
    #[arg(long, value_name = "POLICY")]
    restart: Option<RestartPolicy>,

    /// Containers to change; a machine that runs stays as it is until its next start
    #[arg(required = true, value_name = "CONTAINER-IDS")]
    ids: Vec<Identifier>,
}

pub(crate) fn run(arguments: &UpdateArguments) -> Result<ExitStatus, Failure> {
    let request = UpdateRequest {
        restart_policy: arguments.restart,
        cpus: arguments.cpus.map(Processors::whole),
        cpu_percent: arguments.cpus.and_then(Processors::percent),
        memory_in_bytes: arguments.memory.map(MemorySize::whole_mebibytes),
        pids_limit: arguments.pids_limit.map(|limit| limit.count().unwrap_or(0)),
    };
    if request == UpdateRequest::default() {
        return Err(Failure::Usage {
            message: "nothing is to be changed: name --restart, --memory, --cpus or --pids-limit".to_owned(),
            command: "container update".to_owned(),
        });
    }
    let services = Arc::new(Services::from_environment()?);
    let selection = Selection::resolve("container", false, &arguments.ids)?;
    block_on(async {
        let ids = super::list::select(&services, selection, true).await?;
        bulk::for_each(ids, Order::Argument, |id| {
            let (services, request) = (Arc::clone(&services), request.clone());
            async move {
                let updated = services.client().update_container(&id, &request).await?;
                if updated.waits_for_start {
                    message::warning(&format!(
                        "container '{id}' runs: its machine stays as it is until its next start \
                         (container restart {id})"
                    ));
                }
                Ok(())
            }
        })
        .await
    })
}

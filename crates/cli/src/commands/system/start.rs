//! `system start`

use std::path::{Path, PathBuf};
use std::time::Duration;

use bulkhead_api::error::{ApiError, ErrorCode};
use bulkhead_api::system::SystemStatus;
use bulkhead_client::ClientError;
use bulkhead_paths::Directories;
use clap::Args;

use crate::commands::block_on;
use crate::daemon;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output::{message, properties, system};
use crate::services::Services;

/// Arguments of `system start`.
#[derive(Args, Clone, Debug)]
pub(crate) struct StartArguments {
    /// Where images and containers are kept
    #[arg(short, long, value_name = "DIRECTORY")]
    app_root: Option<PathBuf>,

    /// Where programs, kernel and initramfs are
    #[arg(long, value_name = "DIRECTORY")]
    install_root: Option<PathBuf>,

    /// Where logs are kept
    #[arg(long, value_name = "DIRECTORY")]
    log_root: Option<PathBuf>,

    /// Install the default kernel if there is none; the installation has one
    #[arg(long, conflicts_with = "disable_kernel_install")]
    enable_kernel_install: bool,

    /// Install no kernel
    #[arg(long)]
    disable_kernel_install: bool,

    /// Seconds to wait until the services are there
    #[arg(long, value_name = "SECONDS", default_value = "60")]
    timeout: u32,
}

pub(super) fn run(arguments: &StartArguments) -> Result<ExitStatus, Failure> {
    let mut directories = Directories::from_environment()?;
    for (path, flag, target) in [
        (&arguments.app_root, "--app-root", &mut directories.app_root),
        (&arguments.install_root, "--install-root", &mut directories.install_root),
        (&arguments.log_root, "--log-root", &mut directories.log_root),
    ] {
        if let Some(path) = path {
            *target = absolute(path, flag)?;
        }
    }
    let timeout = Duration::from_secs(u64::from(arguments.timeout));
    let services = Services::in_directories(directories.clone());
    // Before anything is made in directories that are not to be.
    if let Ok(running) = block_on(async { Ok(services.client().system_status().await) })? {
        refuse_other_roots(arguments, &directories, &running)?;
    }
    let was_started = daemon::start(&directories, timeout)?;
    let status = || block_on(async { services.call(async |client| client.system_status().await).await });
    let mut current = status()?;
    // Another command may have started them meanwhile.
    refuse_other_roots(arguments, &directories, &current)?;
    if current.configuration_problem.is_some() && !was_started {
        // It may be mended by now; then a new apiserver goes by it.
        match start_anew(&services, &current, timeout)? {
            Some(problem) => current.configuration_problem = Some(problem),
            None => current = status()?,
        }
    }
    if let Some(problem) = current.configuration_problem {
        return Err(Failure::Refused(ApiError::new(ErrorCode::InvalidArgument, problem).with_hint(
            "Correct the file, then run this again; until then only what exists can be used, under earlier values",
        )));
    }
    let configured =
        block_on(async { services.call(async |client| client.system_properties().await).await })?;
    properties::warnings(&configured).for_each(|warning| message::warning(&warning));
    current.network.iter().flat_map(system::network_advice).for_each(|advice| message::warning(&advice));
    current.folders.iter().flat_map(system::folder_advice).for_each(|advice| message::warning(&advice));
    Ok(ExitStatus::Success)
}

/// Services that run keep the roots with which they were started.
fn refuse_other_roots(
    arguments: &StartArguments,
    wanted: &Directories,
    running: &SystemStatus,
) -> Result<(), Failure> {
    let roots = [
        ("--app-root", &arguments.app_root, &wanted.app_root, Some(&running.app_root)),
        ("--install-root", &arguments.install_root, &wanted.install_root, Some(&running.install_root)),
        ("--log-root", &arguments.log_root, &wanted.log_root, running.log_root.as_ref()),
    ];
    for (flag, given, wanted, running) in roots {
        let Some(running) = running.map(Path::new).filter(|_| given.is_some()) else { continue };
        if !is_same(wanted, running) {
            let (running, wanted) = (running.display(), wanted.display());
            let message = format!("container services run already, with {flag} '{running}', not '{wanted}'");
            return Err(Failure::Refused(
                ApiError::new(ErrorCode::InvalidState, message)
                    .with_hint("stop them first: container system stop"),
            ));
        }
    }
    Ok(())
}

/// Whether both lead to one directory.
fn is_same(one: &Path, other: &Path) -> bool {
    let canonical = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    canonical(one) == canonical(other)
}

/// Replaces the apiserver by one in the same directories; containers go on. Returns what keeps it from that: the
/// configuration as it is now.
fn start_anew(
    services: &Services,
    status: &SystemStatus,
    timeout: Duration,
) -> Result<Option<String>, Failure> {
    let here = services.directories().clone();
    let directories = Directories {
        app_root: PathBuf::from(&status.app_root),
        install_root: PathBuf::from(&status.install_root),
        log_root: status.log_root.as_ref().map_or(here.log_root, PathBuf::from),
        runtime_root: here.runtime_root,
    };
    match block_on(async { Ok(services.client().end_apiserver().await) })? {
        Err(ClientError::Api(error)) if error.code == ErrorCode::InvalidArgument => {
            return Ok(Some(error.message));
        }
        outcome => outcome?,
    }
    daemon::await_end(&directories)?;
    daemon::start(&directories, timeout)?;
    Ok(None)
}

fn absolute(path: &Path, flag: &str) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| Failure::Usage {
        message: format!("invalid value of {flag}: {error}"),
        command: "container system start".to_owned(),
    })
}

//! From start to end of the daemon.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bulkhead_paths::Directories;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::arguments::Arguments;
use crate::container::recover;
use crate::container::registry::Containers;
use crate::disk::Disks;
use crate::helper_pool::HelperPool;
use crate::history::History;
use crate::http;
use crate::image::Images;
use crate::machine::Machines;
use crate::network::{self, Networks};
use crate::readiness::Readiness;
use crate::records::Records;
use crate::service::Service;
use crate::settings::Settings;
use crate::volume::Volumes;
use crate::{allocator, lock, process_limits, spawn};

/// What requests may still take after the daemon was told to end.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);

/// Runs until a signal or `system stop`. SIGTERM and SIGINT leave the containers running, as an
/// upgrade wants it; only the shutdown request stops them.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    allocator::prepare();
    let readiness = Readiness::take(arguments.ready_descriptor)?;
    spawn::reserve_descriptors().context("cannot open /dev/null")?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let directories = Directories::from_environment()?;
    directories.create()?;
    let lock = lock::acquire(&directories.api_lock())?;
    bulkhead_daemon_log::start(&directories.log_root, "apiserver")?;
    process_limits::raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .thread_name("apiserver")
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let outcome = runtime.block_on(serve(directories, readiness));
    // Blocking work, such as a tail of a huge log, must not hold up the end.
    runtime.shutdown_timeout(DRAIN_LIMIT);
    drop(lock);
    outcome
}

async fn serve(directories: Directories, readiness: Readiness) -> anyhow::Result<()> {
    let settings = Settings::load(&directories);
    let (records, contents) = Records::open(&directories.database())?;
    let records = Arc::new(records);
    for row in &contents.quarantined {
        tracing::error!(origin = row.origin, key = row.key, "damaged record set aside: {}", row.reason);
    }
    process_limits::raise_map_count();
    let uses = allocator::Uses::default();
    tokio::spawn(allocator::trim_after(uses.clone()));
    let listener = http::listener::bind(&directories.api_socket(), uses)?;
    let images = Images::open(&directories, &settings, Arc::clone(&records), contents.images)?;
    let history: Arc<History> = Arc::default();
    let volumes = Volumes::new(
        &directories,
        Arc::clone(&records),
        Arc::clone(&history),
        contents.volumes,
        &contents.quarantined,
    );
    volumes.sweep();
    let service = Arc::new(Service {
        volumes: Arc::new(volumes),
        images,
        containers: Containers::default(),
        networks: Networks::new(
            &directories,
            &settings,
            Arc::clone(&records),
            contents.networks,
            contents.domains,
        ),
        helpers: Arc::new(HelperPool::new(&directories)),
        disks: Disks::new(directories.disk_templates(), settings.disk_bytes),
        machines: Machines::detect(&directories, &settings),
        history,
        ending: CancellationToken::new(),
        directories,
        settings,
        records,
    });
    network::egress::tell_denials(&service);
    recover::all(&service, contents.containers, &contents.quarantined).await;
    let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot handle SIGINT")?;
    // A daemon that outlives its terminal must not end with it.
    let mut hangup = signal(SignalKind::hangup()).context("cannot handle SIGHUP")?;
    tokio::spawn(async move { while hangup.recv().await.is_some() {} });

    let server = tokio::spawn(http::serve(listener, Arc::clone(&service)));
    readiness.announce();
    tracing::info!(pid = std::process::id(), "serving '{}'", service.directories.api_socket().display());
    warm_up(&service);
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: ending, containers go on"),
        _ = interrupt.recv() => tracing::info!("SIGINT: ending, containers go on"),
        () = service.ending.cancelled() => tracing::info!("ending after shutdown request"),
    }
    if let Err(error) = std::fs::remove_file(service.directories.api_socket()) {
        tracing::warn!("cannot remove the socket: {error}");
    }
    service.ending.cancel();
    if tokio::time::timeout(DRAIN_LIMIT, server).await.is_err() {
        tracing::info!("closing connections that are still open");
    }
    service.records.close();
    Ok(())
}

/// What the first container would otherwise wait for.
fn warm_up(service: &Arc<Service>) {
    service.helpers.refill_later();
    let service = Arc::clone(service);
    tokio::spawn(async move {
        if let Err(error) = service.disks.prepare().await {
            tracing::warn!("{:#}", anyhow::Error::new(error));
        }
    });
}

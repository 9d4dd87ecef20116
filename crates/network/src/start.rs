//! The order in which things start and end.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use bulkhead_network_control::FailureCode;
use bulkhead_paths::Directories;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::control::{self, Service, Shutdown};
use crate::egress::refusals;
use crate::netlink::Socket;
use crate::networks::{Networks, Orphans, failure, openings};
use crate::outlet::Outlet;
use crate::ports::Ports;
use crate::rootless::{self, UserUplink};
use crate::uplink::Uplink;
use crate::worker::Worker;

/// How long a process that cannot work stays to say why.
const LAST_WORDS_LIMIT: Duration = Duration::from_secs(3);

/// How long one that was killed may take to be gone: the kernel ends its devices' requests first.
const LOCK_LIMIT: Duration = Duration::from_secs(5);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// The kernel tells when somebody removes our rules; this is for what it could not tell.
const RULES_PERIOD: Duration = Duration::from_secs(2);
/// Between two looks at them, however often others change theirs.
const RULES_PAUSE: Duration = Duration::from_millis(5);

/// Runs until shutdown.
pub(crate) fn run(inherited: Option<UnixStream>) -> anyhow::Result<()> {
    let directories = Directories::from_environment()?;
    directories.create()?;
    bulkhead_daemon_log::start(&directories.log_root, "network")?;
    // Fails when we lead a session already.
    let _leads_already = rustix::process::setsid();
    match establish(&directories) {
        Ok(established) => serve(established, &directories, inherited),
        Err(error) => {
            if let Some(inherited) = inherited {
                explain(inherited, &error)?;
            }
            Err(error)
        }
    }
}

/// What is ready before the first request.
struct Established {
    runtime: Runtime,
    networks: Arc<Networks>,
    /// Locked as long as we live.
    _lock: File,
}

fn establish(directories: &Directories) -> anyhow::Result<Established> {
    raise_open_files();
    let lock = lock(directories)?;
    // While there is one thread.
    let rootless = match rustix::process::geteuid().is_root() {
        true => None,
        false => Some(rootless::enter(&directories.network_namespace())?),
    };
    // This thread stays in the host's namespace; all later ones start in ours.
    let host = start_host_thread()?;
    let outlet = match &rootless {
        None => Outlet::Pair(Uplink::establish(directories)?),
        Some(namespace) => Outlet::Program(UserUplink::establish(directories, namespace, &host)?),
    };
    let creator = Worker::start("ports")?;
    let remover = Worker::start("removals")?;
    let runtime = Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    let ports = Ports::start(host.clone())?;
    let links = Socket::route().and_then(|mut links| links.links()).context("cannot list our devices")?;
    let orphans = Orphans::among(links);
    let networks = Networks::new(outlet, host, creator, remover, ports, orphans);
    refusals::watch(&networks).context("cannot hear of what egress policies refuse")?;
    Ok(Established { runtime, networks, _lock: lock })
}

/// Every published port and every connection to one takes descriptors.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!("cannot raise the limit of open files: {error}");
    }
}

fn lock(directories: &Directories) -> anyhow::Result<File> {
    let path = directories.runtime_root.join("network.lock");
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot open '{}'", path.display()))?;
    let deadline = Instant::now() + LOCK_LIMIT;
    loop {
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => thread::sleep(LOCK_PAUSE),
            locked => {
                locked.with_context(|| {
                    format!("another container-network runs: cannot lock '{}'", path.display())
                })?;
                return Ok(lock);
            }
        }
    }
}

fn start_host_thread() -> anyhow::Result<Handle> {
    let runtime =
        Builder::new_current_thread().enable_all().build().context("cannot start the host's runtime")?;
    let handle = runtime.handle().clone();
    thread::Builder::new()
        .name("host".to_owned())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))
        .context("cannot start the host's thread")?;
    Ok(handle)
}

fn serve(
    established: Established,
    directories: &Directories,
    inherited: Option<UnixStream>,
) -> anyhow::Result<()> {
    let Established { runtime, networks, _lock } = established;
    let path = directories.network_socket();
    let outcome = runtime.block_on(async {
        let (shutdown, mut ending) = watch::channel(false);
        let shutdown: Shutdown = Arc::new(shutdown);
        let service = Service::Ready(Arc::clone(&networks));
        let listener =
            control::listen(&path).with_context(|| format!("cannot listen on '{}'", path.display()))?;
        tokio::spawn(control::accept(listener, service.clone(), Arc::clone(&shutdown)));
        if let Some(inherited) = inherited {
            let stream = tokio::net::UnixStream::from_std(inherited)?;
            tokio::spawn(control::serve(stream, service, Arc::clone(&shutdown)));
        }
        tokio::spawn(openings::follow(Arc::clone(&networks)));
        tokio::spawn(mend_rules(Arc::clone(&networks)));
        watch_rules(&networks).context("cannot hear of changes of the host's rules")?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = ending.wait_for(|ending| *ending) => return anyhow::Ok(true),
        }
        Ok(false)
    });
    if !matches!(outcome, Ok(true)) {
        networks.take_down()?;
    }
    drop(std::fs::remove_file(&path));
    tracing::info!("everything is taken down");
    outcome.map(drop)
}

/// Looks after the host's rules, which others may remove.
async fn mend_rules(networks: Arc<Networks>) {
    loop {
        tokio::time::sleep(RULES_PERIOD).await;
        let networks = Arc::clone(&networks);
        if let Ok(Err(failure)) = tokio::task::spawn_blocking(move || networks.mend_rules()).await {
            tracing::warn!("cannot look after the host's rules: {failure}");
        }
    }
}

/// As [`mend_rules`], as soon as they are changed: until they are back, containers reach the host.
fn watch_rules(networks: &Arc<Networks>) -> std::io::Result<()> {
    let Some(changes) = networks.take_rule_changes() else { return Ok(()) };
    let networks = Arc::clone(networks);
    let watch = move || {
        loop {
            changes.wait_for_change();
            if let Err(failure) = networks.mend_rules() {
                tracing::warn!("cannot mend the host's rules: {failure}");
            }
            thread::sleep(RULES_PAUSE);
        }
    };
    thread::Builder::new().name("rules".to_owned()).spawn(watch).map(drop)
}

/// Answers the starter's first requests with the reason of the failure.
fn explain(inherited: UnixStream, error: &anyhow::Error) -> anyhow::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let service = Service::Broken(failure(FailureCode::System, format!("{error:#}")));
    runtime.block_on(async {
        let stream = tokio::net::UnixStream::from_std(inherited)?;
        let (shutdown, mut ending) = watch::channel(false);
        let serving = control::serve(stream, service, Arc::new(shutdown));
        tokio::select! {
            _ = tokio::time::timeout(LAST_WORDS_LIMIT, serving) => {}
            _ = ending.wait_for(|ending| *ending) => {}
        }
        Ok(())
    })
}

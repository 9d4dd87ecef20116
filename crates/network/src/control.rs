//! The control socket.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use bulkhead_descriptor_passing::asynchronous;
use bulkhead_network_control::{Failure, FailureCode, GENERATION, Reply, ReplyFrame, Request, RequestFrame};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, Semaphore, watch};

use crate::networks::{Networks, failure};

/// Requests of one connection that are being answered.
const MAXIMUM_REQUESTS: usize = 256;

/// What answers requests.
#[derive(Clone, Debug)]
pub(crate) enum Service {
    /// The real thing.
    Ready(Arc<Networks>),
    /// Start-up failed; whoever started us shall learn why.
    Broken(Failure),
}

/// Ends the process in good order.
pub(crate) type Shutdown = Arc<watch::Sender<bool>>;

/// Listens at a path; whatever was there belonged to a dead instance.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // The directory is private, so nobody gets in before the mode is set.
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Accepts connections of our own user.
pub(crate) async fn accept(listener: UnixListener, service: Service, shutdown: Shutdown) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (service, shutdown) = (service.clone(), Arc::clone(&shutdown));
                tokio::spawn(serve(stream, service, shutdown));
            }
            Err(error) => {
                tracing::warn!("cannot accept control connections: {error}");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

/// Answers the requests of one connection until it ends.
pub(crate) async fn serve(stream: UnixStream, service: Service, shutdown: Shutdown) {
    let ours = rustix::process::geteuid().as_raw();
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == ours => {}
        Ok(peer) => return tracing::warn!(uid = peer.uid(), "refused a control connection"),
        Err(error) => return tracing::warn!("cannot tell who connects: {error}"),
    }
    let stream = Arc::new(stream);
    let writing = Arc::new(Mutex::new(()));
    let requests = Arc::new(Semaphore::new(MAXIMUM_REQUESTS));
    loop {
        let frame = match asynchronous::receive::<RequestFrame>(&stream).await {
            Ok(Some(frame)) => frame.message,
            Ok(None) => return,
            Err(error) => return tracing::warn!("control connection: {error}"),
        };
        let Ok(permit) = Arc::clone(&requests).acquire_owned().await else { return };
        let (stream, writing) = (Arc::clone(&stream), Arc::clone(&writing));
        let (service, shutdown) = (service.clone(), Arc::clone(&shutdown));
        tokio::spawn(async move {
            let ends = matches!(frame.request, Request::Shutdown);
            let answer = answer(&service, frame.request).await;
            let (result, descriptor) = match answer {
                Ok((reply, descriptor)) => (Ok(reply), descriptor),
                Err(failure) => {
                    tracing::warn!("refused a request: {failure}");
                    (Err(failure), None)
                }
            };
            let descriptors: Vec<BorrowedFd<'_>> = descriptor.iter().map(AsFd::as_fd).collect();
            {
                let _one_at_a_time = writing.lock().await;
                let frame = ReplyFrame { id: frame.id, result };
                if let Err(error) = asynchronous::send(&stream, &frame, &descriptors).await {
                    tracing::debug!("control connection: {error}");
                }
            }
            if ends {
                shutdown.send_replace(true);
            }
            drop(permit);
        });
    }
}

async fn answer(service: &Service, request: Request) -> Result<(Reply, Option<OwnedFd>), Failure> {
    let networks = match service {
        Service::Ready(networks) => networks,
        Service::Broken(failure) => {
            return match request {
                Request::Release { .. } | Request::Retain { .. } | Request::Shutdown => {
                    Ok((Reply::Done, None))
                }
                Request::ListNetworks => Ok((Reply::Networks(Vec::new()), None)),
                Request::Generation => Ok((Reply::Generation(GENERATION), None)),
                _ => Err(failure.clone()),
            };
        }
    };
    let reply = match request {
        Request::CreateNetwork(configuration) => Reply::Network(networks.create(configuration).await?),
        Request::DeleteNetwork { name } => {
            networks.delete(&name).await?;
            Reply::Done
        }
        Request::ListNetworks => Reply::Networks(networks.list()),
        Request::Lease(request) => {
            let (lease, socket) = networks.lease(request).await?;
            return Ok((Reply::Lease(lease), Some(socket)));
        }
        Request::Restore(request) => {
            networks.restore(request).await?;
            Reply::Done
        }
        Request::Publish(request) => Reply::Published(networks.publish(request).await?),
        Request::Release { container_id } => {
            networks.release(&container_id).await;
            Reply::Done
        }
        Request::Retain { container_ids } => {
            networks.retain(&container_ids).await;
            Reply::Done
        }
        Request::Generation => Reply::Generation(GENERATION),
        Request::Rename(request) => {
            networks.rename(&request)?;
            Reply::Done
        }
        Request::Denials => Reply::Denials(networks.denials().await),
        Request::SetDomains { domains } => Reply::NameServer(networks.set_domains(domains).await?),
        Request::Shutdown => {
            let networks = Arc::clone(networks);
            tokio::task::spawn_blocking(move || networks.take_down())
                .await
                .map_err(|_| failure(FailureCode::System, "cannot take the networks down"))??;
            Reply::Done
        }
    };
    Ok((reply, None))
}

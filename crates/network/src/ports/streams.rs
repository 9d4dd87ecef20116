//! TCP: a connection to the host's port becomes one to the container's.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::net::sockopt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::target::Target;

/// The container's kernel answers at once, or its queue of connections is full.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Of each direction of a connection.
const BUFFER_BYTES: usize = 16 * 1024;
/// How long a connection stays that one end has closed and on which nothing moves.
const HALF_CLOSED_LIMIT: Duration = Duration::from_secs(300);
/// A peer that went away without a word is noticed after about two minutes.
const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEP_ALIVE_PROBES: u32 = 4;
/// Without descriptors or memory there is nothing to do but to wait.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the task is cancelled; its connections end with it.
pub(super) async fn serve(listener: OwnedFd, target: Target, limit: Arc<Semaphore>) {
    let listener = match TcpListener::from_std(StdListener::from(listener)) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%target, "cannot serve a published port: {error}"),
    };
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((client, peer)) => {
                // Only now: an idle listener takes nothing of what all ports of the container share.
                let Ok(permit) = Arc::clone(&limit).acquire_owned().await else { return };
                let target = target.clone();
                connections.spawn(async move {
                    if let Err(error) = forward(client, peer, &target).await {
                        tracing::debug!(%target, "published connection: {error}");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%target, "cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Copies both ways. An end that fails is told to the other as what it is, a reset.
async fn forward(mut client: TcpStream, peer: SocketAddr, target: &Target) -> io::Result<()> {
    let mut container = match timeout(CONNECT_LIMIT, target.connect(peer)).await {
        Ok(Ok(container)) => container,
        outcome => {
            reset_on_close(&client)?;
            return outcome?.map(drop);
        }
    };
    for stream in [&client, &container] {
        stream.set_nodelay(true)?;
        sockopt::set_socket_keepalive(stream, true)?;
        sockopt::set_tcp_keepidle(stream, KEEP_ALIVE_IDLE)?;
        sockopt::set_tcp_keepintvl(stream, KEEP_ALIVE_INTERVAL)?;
        sockopt::set_tcp_keepcnt(stream, KEEP_ALIVE_PROBES)?;
    }
    let copied = copy_both(&mut client, &mut container).await;
    if copied.is_err() {
        reset_on_close(&client)?;
        reset_on_close(&container)?;
    }
    copied
}

fn reset_on_close(stream: &TcpStream) -> io::Result<()> {
    sockopt::set_socket_linger(stream, Some(Duration::ZERO)).map_err(io::Error::from)
}

async fn copy_both(client: &mut TcpStream, container: &mut TcpStream) -> io::Result<()> {
    let moved = AtomicU64::new(0);
    let (client_reader, client_writer) = client.split();
    let (container_reader, container_writer) = container.split();
    let mut inward = std::pin::pin!(copy(client_reader, container_writer, &moved));
    let mut outward = std::pin::pin!(copy(container_reader, client_writer, &moved));
    let inward_is_left = tokio::select! {
        outcome = &mut inward => outcome.map(|()| false),
        outcome = &mut outward => outcome.map(|()| true),
    }?;
    loop {
        let before = moved.load(Ordering::Relaxed);
        let left = match inward_is_left {
            true => timeout(HALF_CLOSED_LIMIT, &mut inward).await,
            false => timeout(HALF_CLOSED_LIMIT, &mut outward).await,
        };
        match left {
            Ok(outcome) => return outcome,
            Err(_) if moved.load(Ordering::Relaxed) == before => return Err(io::ErrorKind::TimedOut.into()),
            Err(_) => {}
        }
    }
}

/// Copies one way, with its end.
async fn copy(mut reader: ReadHalf<'_>, mut writer: WriteHalf<'_>, moved: &AtomicU64) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let length = reader.read(&mut buffer).await?;
        if length == 0 {
            return writer.shutdown().await;
        }
        writer.write_all(&buffer[..length]).await?;
        moved.fetch_add(u64::try_from(length).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

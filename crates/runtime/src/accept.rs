//! Sorts the guest's vsock connections: the first control connection, streams, nonsense.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use bulkhead_devices::GuestConnection;
use bulkhead_guest_protocol::stream::{HEADER_LENGTH_BYTES, StreamHeader, StreamKind};
use bulkhead_guest_protocol::{CONTROL_PORT, STREAM_PORT};

use crate::agent;
use crate::forwards::Forwards;
use crate::input::Input;
use crate::streams::Streams;

const STACK_BYTES: usize = 128 * 1024;
/// vminitd sends the header with its connect. A guest that holds it back delays nobody but itself.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Accepts until the vsock device ends. `start` is the encoded `Start`, sent from here so that it
/// does not wait for another thread to wake.
pub(crate) fn spawn(
    connections: Receiver<GuestConnection>,
    start: Vec<u8>,
    streams: Arc<Streams>,
    forwards: Arc<Forwards>,
    inputs: SyncSender<Input>,
) -> io::Result<()> {
    thread::Builder::new().name("accept".to_owned()).stack_size(STACK_BYTES).spawn(move || {
        let mut start = Some(start);
        for connection in connections {
            match connection.port {
                CONTROL_PORT => {
                    // A second agent is an impostor; its connection closes unanswered.
                    let Some(start) = start.take() else { continue };
                    if let Err(error) = greet(connection, &start, &inputs) {
                        let _ = inputs.send(Input::AgentLost(format!("cannot talk to vminitd: {error}")));
                    }
                }
                STREAM_PORT => {
                    if let Err(error) = join_stream(connection, &streams, &forwards) {
                        tracing::warn!("refused a stream of the guest: {error}");
                    }
                }
                _ => {}
            }
        }
    })?;
    Ok(())
}

fn greet(connection: GuestConnection, start: &[u8], inputs: &SyncSender<Input>) -> io::Result<()> {
    let mut socket = connection.stream;
    let connected = Instant::now();
    socket.write_all(start)?;
    // First, so that no message overtakes it.
    if inputs.send(Input::AgentConnected(socket.try_clone()?, connected)).is_ok() {
        agent::read_messages(socket, inputs.clone())?;
    }
    Ok(())
}

fn join_stream(connection: GuestConnection, streams: &Streams, forwards: &Forwards) -> io::Result<()> {
    let mut socket = connection.stream;
    let mut header = [0; HEADER_LENGTH_BYTES];
    socket.set_read_timeout(Some(HEADER_TIMEOUT))?;
    socket.read_exact(&mut header)?;
    socket.set_read_timeout(None)?;
    let header = StreamHeader::from_bytes(header).map_err(io::Error::other)?;
    match header.kind {
        StreamKind::Forward | StreamKind::Agent => forwards.connect(header, socket),
        _ => streams.connect(header, socket),
    }
}

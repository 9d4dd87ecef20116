//! The control connection to vminitd.

use std::io::{self, BufReader};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

use bulkhead_guest_protocol::frame::{self, FrameError};
use bulkhead_guest_protocol::messages::host_message::Request;
use bulkhead_guest_protocol::messages::{GuestMessage, HostMessage};

use crate::input::Input;

const STACK_BYTES: usize = 128 * 1024;
/// vminitd reads all the time; a guest that does not is broken or hostile.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// Encodes a request.
pub(crate) fn encode(request_id: u64, request: Request) -> Result<Vec<u8>, FrameError> {
    frame::encode(&HostMessage { request_id, request: Some(request) })
}

/// Reads from a thread of its own until the connection ends.
pub(crate) fn read_messages(socket: UnixStream, inputs: SyncSender<Input>) -> io::Result<()> {
    thread::Builder::new().name("agent".to_owned()).stack_size(STACK_BYTES).spawn(move || {
        let mut reader = BufReader::new(socket);
        let reason = loop {
            match frame::read::<GuestMessage>(&mut reader) {
                Ok(Some(message)) => {
                    if inputs.send(Input::AgentMessage(Box::new(message))).is_err() {
                        return;
                    }
                }
                Ok(None) => break "vminitd closed its control connection".to_owned(),
                Err(error) => break format!("vminitd's control connection failed: {error}"),
            }
        };
        // Without a main thread nobody wants to know.
        let _ = inputs.send(Input::AgentLost(reason));
    })?;
    Ok(())
}

/// The writing half; the main thread's.
#[derive(Debug)]
pub(crate) struct Agent {
    socket: UnixStream,
    last_request_id: u64,
}

impl Agent {
    /// `last_request_id` was used for `Start`.
    pub(crate) fn new(socket: UnixStream, last_request_id: u64) -> io::Result<Self> {
        socket.set_write_timeout(Some(SEND_TIMEOUT))?;
        Ok(Self { socket, last_request_id })
    }

    /// Sends a request and returns its number.
    pub(crate) fn send(&mut self, request: Request) -> Result<u64, FrameError> {
        self.last_request_id += 1;
        let message = HostMessage { request_id: self.last_request_id, request: Some(request) };
        frame::write(&mut self.socket, &message)?;
        Ok(self.last_request_id)
    }
}

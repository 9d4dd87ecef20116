//! stdio of the container's processes: guest ↔ client and log.
//!
//! ```text
//!  guest ──▶ output thread ──▶ log
//!                          └─▶ client's descriptor, as fast as the client reads
//!  guest ◀── input thread  ◀── client's descriptor
//! ```
//!
//! Each stream has a thread, so a slow client holds up nothing but its own stream; the guest's
//! process then blocks in its write(2), as it would with a pipe. Clients come and go: an output
//! without one goes to the log only, or nowhere for processes that are not logged.
//!
//! Client descriptors are shared with other programs, the user's shell for one. `O_NONBLOCK` belongs
//! to what they share and is therefore never set on them (see `descriptor`).

mod client;
mod descriptor;
mod detach_keys;
mod input;
mod output;
mod wake;

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};

use bulkhead_guest_protocol::stream::{StreamHeader, StreamKind};

pub(crate) use client::{Client, ClientDescriptors};
use input::{InputClient, InputStream};
use output::{OutputClient, OutputStream};
use rustix::io::Errno;

use crate::input::Input;
use crate::log_writer::{LogStream, LogWriter};

/// Whether a process has a terminal and reads stdin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) terminal: bool,
    pub(crate) stdin: bool,
}

/// Streams of all processes.
#[derive(Debug)]
pub(crate) struct Streams {
    processes: Mutex<BTreeMap<u32, ProcessStreams>>,
    inputs: SyncSender<Input>,
}

#[derive(Debug)]
struct ProcessStreams {
    /// stdout and stderr, or the terminal alone.
    outputs: Vec<(StreamKind, Arc<OutputStream>)>,
    input: Option<Arc<InputStream>>,
    /// Who is attached.
    client: Option<u64>,
}

impl Streams {
    pub(crate) fn new(inputs: SyncSender<Input>) -> Arc<Self> {
        Arc::new(Self { processes: Mutex::default(), inputs })
    }

    /// Expects the streams of a process that is about to be started.
    ///
    /// # Errors
    /// No descriptor is left for the threads' wake-up calls.
    pub(crate) fn expect(
        &self,
        number: u32,
        shape: Shape,
        client: Client,
        log: Option<&Arc<LogWriter>>,
    ) -> io::Result<()> {
        let kinds: &[(StreamKind, LogStream)] = if shape.terminal {
            &[(StreamKind::Terminal, LogStream::Stdout)]
        } else {
            &[(StreamKind::Stdout, LogStream::Stdout), (StreamKind::Stderr, LogStream::Stderr)]
        };
        let outputs = kinds
            .iter()
            .map(|(kind, stream)| {
                let log = log.map(|log| (Arc::clone(log), *stream));
                Ok((*kind, Arc::new(OutputStream::new(number, log, self.inputs.clone())?)))
            })
            .collect::<io::Result<_>>()?;
        let input = match shape.stdin {
            true => Some(Arc::new(InputStream::new(number, self.inputs.clone())?)),
            false => None,
        };
        let mut streams = ProcessStreams { outputs, input, client: None };
        streams.attach(client);
        self.lock().insert(number, streams);
        Ok(())
    }

    /// Takes a connection of the guest.
    ///
    /// # Errors
    /// Nobody expects such a stream, or it exists already, or there is no thread for it.
    pub(crate) fn connect(&self, header: StreamHeader, socket: UnixStream) -> io::Result<()> {
        let processes = self.lock();
        let process = processes.get(&header.process_number);
        let process = process.ok_or_else(|| io::Error::other("unknown process"))?;
        match (header.kind, &process.input) {
            (StreamKind::Stdin, Some(input)) if process.outputs.len() > 1 => input.start(socket),
            (StreamKind::Stdin, _) => Err(io::Error::other("the process has no stdin")),
            (kind, input) => {
                let output = process.outputs.iter().find(|(of, _)| *of == kind).map(|(_, output)| output);
                let output = output.ok_or_else(|| io::Error::other("the process has no such stream"))?;
                if let (StreamKind::Terminal, Some(input)) = (kind, input) {
                    input.start(socket.try_clone()?)?;
                }
                output.start(socket)
            }
        }
    }

    /// Connects a client, in place of the one before, which is returned.
    pub(crate) fn attach(&self, number: u32, client: Client) -> Option<u64> {
        self.lock().get_mut(&number).and_then(|process| process.attach(client))
    }

    /// Lets go of this client of a process; false when it is not the one that is attached.
    pub(crate) fn detach(&self, number: u32, client: u64) -> bool {
        let mut processes = self.lock();
        let process = processes.get_mut(&number).filter(|process| process.client == Some(client));
        process.map(ProcessStreams::detach).is_some()
    }

    /// Lets go of whoever is the client of a process.
    pub(crate) fn detach_any(&self, number: u32) {
        self.lock().get_mut(&number).map(ProcessStreams::detach);
    }

    /// Lets go of every client: nothing is to wait for any of them any more.
    pub(crate) fn detach_all(&self) {
        self.lock().values_mut().for_each(ProcessStreams::detach);
    }

    /// The process has ended: its outputs are drained, its input is over.
    pub(crate) fn process_ended(&self, number: u32) {
        if let Some(process) = self.lock().get(&number) {
            if let Some(input) = &process.input {
                input.stop();
            }
            for (_, output) in &process.outputs {
                output.process_ended();
            }
        }
    }

    /// Why the client of a process did not get all that the process wrote.
    pub(crate) fn refusal(&self, number: u32) -> Option<Errno> {
        let processes = self.lock();
        let process = processes.get(&number)?;
        let client = process.client?;
        process.outputs.iter().find_map(|(_, output)| output.refusal(client))
    }

    /// Whether every byte of the process's output was delivered.
    pub(crate) fn are_drained(&self, number: u32) -> bool {
        self.lock()
            .get(&number)
            .is_none_or(|process| process.outputs.iter().all(|(_, output)| output.is_drained()))
    }

    /// Gives up on outputs that the guest never connected.
    pub(crate) fn abandon_unconnected(&self, number: u32) {
        if let Some(process) = self.lock().get(&number) {
            process.outputs.iter().for_each(|(_, output)| output.abandon_unconnected());
        }
    }

    /// Forgets a process; its clients' descriptors are closed.
    pub(crate) fn remove(&self, number: u32) {
        if let Some(mut process) = self.lock().remove(&number) {
            process.detach();
            if let Some(input) = &process.input {
                input.stop();
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u32, ProcessStreams>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProcessStreams {
    /// Also takes away what the client lacks; returns the client before.
    fn attach(&mut self, client: Client) -> Option<u64> {
        let Client { number, mut descriptors, detach_keys } = client;
        let attached = (!descriptors.is_empty()).then_some(number);
        // Outputs first: the process may answer what it reads before this thread comes to them.
        for (kind, output) in &self.outputs {
            let sink = descriptors.sink(*kind);
            output.attach(sink.map(|descriptor| OutputClient {
                number,
                is_starter: number == 0,
                descriptor,
            }));
        }
        if let Some(input) = &self.input {
            let source = descriptors.source();
            input.attach(source.map(|source| InputClient { number, source, detach_keys }));
        }
        std::mem::replace(&mut self.client, attached)
    }

    fn detach(&mut self) {
        self.client = None;
        if let Some(input) = &self.input {
            input.attach(None);
        }
        self.outputs.iter().for_each(|(_, output)| output.attach(None));
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use bulkhead_runtime_control::DescriptorPurpose;

    use super::*;

    #[test]
    fn nothing_is_read_of_a_client_that_cannot_have_its_answer_yet() {
        let (inputs, _ends) = mpsc::sync_channel(16);
        let streams = Streams::new(inputs);
        let nobody = Client { number: 0, descriptors: ClientDescriptors::default(), detach_keys: Vec::new() };
        streams.expect(0, Shape { terminal: false, stdin: true }, nobody, None).unwrap();
        let (guest_input, input) = UnixStream::pair().unwrap();
        let (guest_output, output) = UnixStream::pair().unwrap();
        streams.connect(StreamHeader { process_number: 0, kind: StreamKind::Stdin }, input).unwrap();
        streams.connect(StreamHeader { process_number: 0, kind: StreamKind::Stdout }, output).unwrap();
        let echo = thread::spawn(move || std::io::copy(&mut &guest_input, &mut &guest_output).unwrap());

        let (stdin, mut typed) = std::io::pipe().unwrap();
        let (mut shown, stdout) = std::io::pipe().unwrap();
        typed.write_all(b"a question").unwrap();
        drop(typed);
        let purposes = [DescriptorPurpose::Stdin, DescriptorPurpose::Stdout];
        let (descriptors, _) = ClientDescriptors::sort(&purposes, vec![stdin.into(), stdout.into()]);
        let client = Client { number: 1, descriptors, detach_keys: Vec::new() };

        // Who attaches stands still before the output is his.
        let held = Arc::clone(&streams.lock()[&0].outputs[0].1);
        let held = held.lock_client();
        let attaching = Arc::clone(&streams);
        let attached = thread::spawn(move || attaching.attach(0, client));
        thread::sleep(Duration::from_millis(100));
        assert!(
            !echo.is_finished(),
            "the process heard a question that nobody would have been told the answer to"
        );
        drop(held);

        assert_eq!(attached.join().unwrap(), None);
        assert_eq!(echo.join().unwrap(), 10);
        let mut answer = String::new();
        shown.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "a question");
    }
}

//! What PID 1 does for the rest of its life: requests of the host, ends of processes, bytes of
//! streams, in one thread.

mod starting;

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use bulkhead_guest_protocol::messages::guest_message::Body;
use bulkhead_guest_protocol::messages::host_message::Request;
use bulkhead_guest_protocol::messages::{
    ConnectSocket, Done, Failure, HostMessage, ProcessExited, ResizeTerminal, SignalProcess, failure::Code,
};
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;

use crate::boot::Machine;
use crate::control::{Control, ControlError};
use crate::emulation::Emulation;
use crate::failure::{SetupError, failure};
use crate::forwards::Forwards;
use crate::process::clone::Stack;
use crate::process::{Running, terminal};
use crate::root_filesystem::Layers;
use crate::streams::{Progress, Stream};
use crate::volume_content::EmptyVolumes;
use crate::{capabilities, cgroup, clock, shutdown, statistics};

const EVENTS: usize = 16;
const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
/// How long a terminal may be silent after the end of its process.
const LINGER: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

const CONTROL: u64 = 0;
/// Upper half of an event's data; the lower half is a process number.
const PROCESS: u64 = 1 << 32;
/// The lower half is twice a stream's slot, plus one for its local side.
const STREAM: u64 = 2 << 32;
const FORWARD: u64 = 3 << 32;
const HOST_SOCKET: u64 = 4 << 32;

/// All state of PID 1.
#[derive(Debug)]
pub(crate) struct EventLoop {
    epoll: OwnedFd,
    control: Control,
    machine: Result<Machine, SetupError>,
    stack: Option<Stack>,
    started: bool,
    /// Keeps the container's file systems mounted over the end of its last process: the unmount
    /// writes to the disk, and nobody who waits for the exit code should wait for that.
    mount_namespace: Option<OwnedFd>,
    layers: Option<Layers>,
    emulation: Option<Emulation>,
    paused: bool,
    /// Capabilities that children may still have.
    bounding_set: u64,
    processes: Vec<Running>,
    streams: Vec<Option<Stream>>,
    /// Slots of streams that have more to move than one turn allowed.
    busy: Vec<usize>,
    forwards: Forwards,
    empty_volumes: EmptyVolumes,
}

impl EventLoop {
    pub(crate) fn new(control: Control, machine: Result<Machine, SetupError>) -> Result<Self, Errno> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &control, EventData::new_u64(CONTROL), EventFlags::IN)?;
        Ok(Self {
            epoll,
            control,
            machine,
            stack: None,
            started: false,
            mount_namespace: None,
            layers: None,
            emulation: None,
            paused: false,
            bounding_set: capabilities::ALL,
            processes: Vec::new(),
            streams: Vec::new(),
            busy: Vec::new(),
            forwards: Forwards::new(FORWARD),
            empty_volumes: EmptyVolumes::default(),
        })
    }

    /// Runs until the control connection is lost. Without the host the guest has no purpose.
    pub(crate) fn run(mut self) {
        loop {
            let mut buffer = [MaybeUninit::<epoll::Event>::uninit(); EVENTS];
            let lingering = self.streams.iter().flatten().any(Stream::is_lingering);
            let idle = self.busy.is_empty() && !self.forwards.is_busy();
            let timeout = match (idle, lingering) {
                (false, _) => Some(&NOW),
                (true, true) => Some(&LINGER),
                (true, false) => None,
            };
            let events = match epoll::wait(&self.epoll, &mut buffer, timeout) {
                Ok((events, _)) => events,
                Err(Errno::INTR) => continue,
                Err(_) => return,
            };
            if events.is_empty() && idle {
                self.drop_lingering();
            }
            self.forwards.go_on();
            for slot in std::mem::take(&mut self.busy) {
                self.pump(slot);
            }
            for event in events {
                let data = event.data.u64();
                let number = lower_half(data);
                match data & !u64::from(u32::MAX) {
                    PROCESS => self.reap(number),
                    STREAM => self.stream_event(number, event.flags),
                    FORWARD => self.forwards.event(number, event.flags),
                    HOST_SOCKET => self.forwards.accept(&self.epoll, number),
                    _ => {
                        if self.read_control().is_err() {
                            return;
                        }
                    }
                }
            }
            if self.report_ended().is_err() {
                return;
            }
        }
    }

    fn read_control(&mut self) -> Result<(), ControlError> {
        self.control.receive()?;
        while let Some(HostMessage { request_id, request }) = self.control.next_message()? {
            let answer = match request {
                Some(Request::Start(start)) => self.start(start).map(Body::ProcessStarted),
                Some(Request::StartProcess(request)) => match request.process {
                    Some(process) => self.start_process(&process).map(Body::ProcessStarted),
                    None => Err(refusal(Code::InvalidArgument, "no process given")),
                },
                Some(Request::SignalProcess(request)) => self.signal(request).map(|()| Body::Done(Done {})),
                Some(Request::ResizeTerminal(request)) => self.resize(request).map(|()| Body::Done(Done {})),
                Some(Request::ReadStatistics(_)) => {
                    self.machine().map(|machine| Body::Statistics(statistics::read(&machine.cgroup)))
                }
                Some(Request::SetPaused(request)) => {
                    self.set_paused(request.paused).map(|()| Body::Done(Done {}))
                }
                Some(Request::ConnectSocket(request)) => {
                    self.connect_socket(&request).map(|()| Body::Done(Done {}))
                }
                Some(Request::Ping(ping)) => Ok(Body::Pong(clock::answer(ping))),
                Some(Request::Shutdown(_)) => self.shut_down(request_id),
                None => Err(refusal(Code::InvalidArgument, "unknown request")),
            };
            self.control.send(request_id, answer.unwrap_or_else(Body::Failure))?;
        }
        Ok(())
    }

    fn machine(&self) -> Result<&Machine, Failure> {
        self.machine.as_ref().map_err(|error| failure(Code::Setup, error))
    }

    fn connect_socket(&mut self, request: &ConnectSocket) -> Result<(), Failure> {
        let Some(namespace) = &self.mount_namespace else {
            return Err(refusal(Code::ProcessNotFound, "the container is not running"));
        };
        let stack = stack(&mut self.stack)?;
        self.forwards
            .connect(&self.epoll, stack, namespace.as_fd(), request.number, &request.path)
            .map_err(|source| failure(Code::Setup, &SetupError { step: "connect to the socket", source }))
    }

    fn add_stream(&mut self, stream: Stream) -> Result<(), Errno> {
        let slot = self.streams.iter().position(Option::is_none).unwrap_or(self.streams.len());
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        let data = |side: u64| EventData::new_u64(STREAM | ((slot as u64) << 1) | side);
        epoll::add(&self.epoll, stream.socket(), data(0), flags)?;
        epoll::add(&self.epoll, stream.local(), data(1), flags)?;
        if slot == self.streams.len() {
            self.streams.push(None);
        }
        self.streams[slot] = Some(stream);
        Ok(())
    }

    fn stream_event(&mut self, number: u32, flags: EventFlags) {
        let slot = (number >> 1) as usize;
        let local_side = number & 1 == 1;
        let Some(Some(stream)) = self.streams.get(slot) else { return };
        let broken =
            stream.is_broken_by(local_side, flags.contains(EventFlags::ERR), flags.contains(EventFlags::HUP));
        if broken {
            self.streams[slot] = None;
        } else {
            self.pump(slot);
        }
    }

    fn pump(&mut self, slot: usize) {
        let Some(entry) = self.streams.get_mut(slot) else { return };
        let Some(stream) = entry else { return };
        match stream.pump() {
            Progress::Waiting => {}
            Progress::Finished => *entry = None,
            Progress::Busy => {
                if !self.busy.contains(&slot) {
                    self.busy.push(slot);
                }
            }
        }
    }

    fn drop_lingering(&mut self) {
        for slot in &mut self.streams {
            if slot.as_ref().is_some_and(Stream::is_lingering) {
                *slot = None;
            }
        }
    }

    fn reap(&mut self, number: u32) {
        let Some(running) = self.processes.iter_mut().find(|running| running.number == number) else {
            return;
        };
        if !running.reap() {
            return;
        }
        if running.freezes {
            // Nobody is there who could be told; a pause that was asked for meanwhile stays.
            let _ = self.set_frozen(self.is_frozen());
        }
        for slot in 0..self.streams.len() {
            if let Some(Some(stream)) = self.streams.get_mut(slot)
                && stream.process_number == number
            {
                stream.process_ended();
                self.pump(slot);
            }
        }
    }

    /// Reports processes that have ended and whose output is with the host.
    fn report_ended(&mut self) -> Result<(), ControlError> {
        let mut index = 0;
        while let Some(running) = self.processes.get(index) {
            let number = running.number;
            let Some(ended) = running.ended else {
                index += 1;
                continue;
            };
            if self.streams.iter().flatten().any(|stream| stream.process_number == number) {
                index += 1;
                continue;
            }
            self.processes.swap_remove(index);
            let kill = libc::SIGKILL as u32;
            let out_of_memory = (number == 0 || ended.signal == kill)
                && self.machine.as_ref().is_ok_and(|machine| cgroup::was_out_of_memory(&machine.cgroup));
            let filled_mounts = if number == 0 { self.empty_volumes.take_filled() } else { Vec::new() };
            let event = ProcessExited {
                number,
                exit_code: ended.exit_code,
                signal: ended.signal,
                out_of_memory,
                filled_mounts,
            };
            self.control.send(0, Body::ProcessExited(event))?;
        }
        Ok(())
    }

    fn set_paused(&mut self, paused: bool) -> Result<(), Failure> {
        let before = self.is_frozen();
        let was_paused = std::mem::replace(&mut self.paused, paused);
        let wanted = self.is_frozen();
        let outcome = if wanted == before { Ok(()) } else { self.set_frozen(wanted) };
        if outcome.is_err() {
            self.paused = was_paused;
        }
        outcome
    }

    /// Whether the container's processes are to stand still.
    fn is_frozen(&self) -> bool {
        self.paused || self.processes.iter().any(|running| running.freezes && running.pidfd.is_some())
    }

    fn set_frozen(&self, frozen: bool) -> Result<(), Failure> {
        let step = if frozen { "freeze the container's processes" } else { "thaw the container's processes" };
        cgroup::set_frozen(&self.machine()?.cgroup, frozen)
            .map_err(|source| failure(Code::Setup, &SetupError { step, source }))
    }

    fn signal(&self, request: SignalProcess) -> Result<(), Failure> {
        let pidfd = self.find(request.number)?.pidfd.as_ref();
        let pidfd = pidfd.ok_or_else(|| refusal(Code::ProcessNotFound, "the process has ended"))?;
        send_signal(pidfd, request.signal).map_err(|source| match source {
            Errno::INVAL => refusal(Code::InvalidArgument, "no such signal"),
            Errno::SRCH => refusal(Code::ProcessNotFound, "the process has ended"),
            _ => failure(Code::Setup, &SetupError { step: "send a signal", source }),
        })
    }

    fn resize(&self, request: ResizeTerminal) -> Result<(), Failure> {
        self.find(request.number)?;
        let master = self
            .streams
            .iter()
            .flatten()
            .filter(|stream| stream.process_number == request.number)
            .find_map(Stream::terminal_master);
        match master {
            Some(master) => terminal::resize(master, request.rows, request.columns)
                .map_err(|source| failure(Code::Setup, &SetupError { step: "resize the terminal", source })),
            None => Err(refusal(Code::InvalidArgument, "the process has no terminal")),
        }
    }

    fn find(&self, number: u32) -> Result<&Running, Failure> {
        self.processes
            .iter()
            .find(|running| running.number == number)
            .ok_or_else(|| refusal(Code::ProcessNotFound, "no such process"))
    }

    fn shut_down(&mut self, request_id: u64) -> ! {
        shutdown::end_processes(self.processes.drain(..).filter_map(|running| running.pidfd).collect());
        drop(self.layers.take());
        drop(std::mem::take(&mut self.empty_volumes));
        shutdown::unmount(self.mount_namespace.take());
        if self.control.send(request_id, Body::Done(Done {})).is_ok() {
            self.control.drain();
        }
        shutdown::power_off()
    }
}

fn lower_half(data: u64) -> u32 {
    let [a, b, c, d, ..] = data.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// The stack of children, mapped by the first that needs it.
fn stack(slot: &mut Option<Stack>) -> Result<&mut Stack, Failure> {
    match slot {
        Some(stack) => Ok(stack),
        none => {
            let mapped = Stack::new();
            let mapped =
                mapped.map_err(|source| failure(Code::Setup, &SetupError { step: "map a stack", source }))?;
            Ok(none.insert(mapped))
        }
    }
}

fn refusal(code: Code, message: &str) -> Failure {
    Failure { code: code.into(), message: message.to_owned() }
}

/// pidfd_send_signal(2) with any number: rustix knows the named signals only.
fn send_signal(pidfd: &OwnedFd, signal: u32) -> Result<(), Errno> {
    use std::os::fd::AsRawFd;
    let signal = i32::try_from(signal).map_err(|_| Errno::INVAL)?;
    let information = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: no memory is passed.
    let result =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, information, 0) };
    if result == 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL))
}

//! What PID 1 does for the rest of its life: requests of the host, ends of processes, bytes of
//! streams, in one thread.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use bulkhead_guest_protocol::messages::guest_message::Body;
use bulkhead_guest_protocol::messages::host_message::Request;
use bulkhead_guest_protocol::messages::{
    BuiltIn, ConnectSocket, Done, Failure, HostMessage, Process, ProcessExited, ProcessStarted,
    ResizeTerminal, RootFilesystem, SignalProcess, Start, built_in::Work, failure::Code,
};
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;

use crate::boot::{Machine, boot_time_ns};
use crate::control::{Control, ControlError};
use crate::failure::{SetupError, failure};
use crate::forwards::Forwards;
use crate::process::child::Surroundings;
use crate::process::clone::{Child, Stack};
use crate::process::container::ContainerPlan;
use crate::process::spawn::{self, adopt_pid_namespace};
use crate::process::stdio::{self, ChildStdio};
use crate::process::{Running, terminal};
use crate::root_filesystem::{Layers, Root};
use crate::streams::{Progress, Stream};
use crate::{
    built_in, capabilities, cgroup, devices_directory, entropy, generated_files, mounts, network,
    root_filesystem, shutdown, statistics, vsock,
};

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
const AGENT_LISTENER: u64 = 4 << 32;

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
    paused: bool,
    /// Capabilities that children may still have.
    bounding_set: u64,
    processes: Vec<Running>,
    streams: Vec<Option<Stream>>,
    /// Slots of streams that have more to move than one turn allowed.
    busy: Vec<usize>,
    forwards: Forwards,
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
            paused: false,
            bounding_set: capabilities::ALL,
            processes: Vec::new(),
            streams: Vec::new(),
            busy: Vec::new(),
            forwards: Forwards::new(FORWARD),
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
                    AGENT_LISTENER => self.forwards.accept(&self.epoll),
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
                Some(Request::Ping(_)) => Ok(Body::Done(Done {})),
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

    fn start(&mut self, start: Start) -> Result<ProcessStarted, Failure> {
        if std::mem::replace(&mut self.started, true) {
            return Err(refusal(Code::InvalidArgument, "the container was already started"));
        }
        let process = start.process.ok_or_else(|| refusal(Code::InvalidArgument, "no process given"))?;
        if process.number != 0 {
            return Err(refusal(Code::InvalidArgument, "the first process is number 0"));
        }
        let root = start.root.ok_or_else(|| refusal(Code::InvalidArgument, "no root file system given"))?;
        vsock::set_secret(&start.stream_secret)
            .map_err(|_| refusal(Code::InvalidArgument, "no secret of the streams given"))?;
        if let Some(work) = &process.built_in {
            return self.start_maintenance(&root, &start.random_seed, &process, work);
        }
        let setup = |error: &dyn std::error::Error| failure(Code::Setup, error);
        let step =
            |step: &'static str| move |source: Errno| failure(Code::Setup, &SetupError { step, source });
        // Answered by the host while the mounts are made.
        let dialled = stdio::dial(&process).map_err(|error| setup(&error))?;
        entropy::add(&start.random_seed).map_err(step("add entropy"))?;
        let Root { mount_namespace, layers } =
            root_filesystem::assemble(&root).map_err(|error| setup(&error))?;
        if !start.hostname.is_empty() {
            rustix::system::sethostname(start.hostname.as_bytes()).map_err(step("set the hostname"))?;
        }
        network::configure(&start.interfaces).map_err(|error| setup(&error))?;
        if let Some(limits) = &start.limits {
            cgroup::apply(&self.machine()?.cgroup, limits).map_err(|error| setup(&error))?;
        }
        let devices = devices_directory::finish(start.privileged, process.terminal, start.shm_size_bytes)
            .map_err(step("complete /dev"))?;
        let mut files = generated_files::prepare(&start.files).map_err(|error| setup(&error))?;
        if !start.agent_socket.is_empty() {
            let socket = self.forwards.listen(&self.epoll, AGENT_LISTENER, &start.agent_socket);
            files.push(socket.map_err(step("listen for the agent of the host"))?);
        }
        let plan = ContainerPlan {
            mount_namespace,
            devices,
            mounts: mounts::prepare(&start.mounts).map_err(|error| setup(&error))?,
            files,
            sysctls: start.sysctls,
            masked_paths: start.masked_paths,
            readonly_paths: start.readonly_paths,
            privileged: start.privileged,
            read_only_root: root.read_only,
        };
        let (child_stdio, streams) = dialled.connect(&process).map_err(|error| setup(&error))?;
        capabilities::keep_inheritable()
            .and_then(|()| capabilities::limit_bounding_set(self.bounding_set, process.capabilities))
            .map_err(step("drop capabilities"))?;
        self.bounding_set &= process.capabilities;
        let child = self.spawn(Surroundings::New(&plan), &process, &child_stdio, start.init)?;
        match adopt_pid_namespace(&child.pidfd) {
            // It has ended already: then there will be no further process either.
            Ok(()) | Err(Errno::SRCH) => {}
            Err(source) => return Err(step("enter the container's PID namespace")(source)),
        }
        self.mount_namespace = Some(plan.mount_namespace);
        self.layers = Some(layers);
        self.register(process.number, child, child_stdio, streams, false)
    }

    /// A machine for the files of a container that does not run: nothing of the container is started.
    fn start_maintenance(
        &mut self,
        root: &RootFilesystem,
        random_seed: &[u8],
        process: &Process,
        work: &BuiltIn,
    ) -> Result<ProcessStarted, Failure> {
        entropy::add(random_seed)
            .map_err(|source| failure(Code::Setup, &SetupError { step: "add entropy", source }))?;
        let root = root_filesystem::assemble(root).map_err(|error| failure(Code::Setup, &error))?;
        self.mount_namespace = Some(root.mount_namespace);
        self.layers = Some(root.layers);
        self.start_built_in(process, work)
    }

    fn start_built_in(&mut self, process: &Process, work: &BuiltIn) -> Result<ProcessStarted, Failure> {
        let work = work.work.as_ref().ok_or_else(|| refusal(Code::InvalidArgument, "unknown built-in"))?;
        let setup = |error: &dyn std::error::Error| failure(Code::Setup, error);
        let dialled = stdio::dial(process).map_err(|error| setup(&error))?;
        let (child_stdio, streams) = dialled.connect(process).map_err(|error| setup(&error))?;
        let (Some(mount_namespace), Some(layers)) = (&self.mount_namespace, &self.layers) else {
            return Err(refusal(Code::ProcessNotFound, "the container is not running"));
        };
        // Number 0 is alone in its machine.
        let freezes = matches!(work, Work::Export(_)) && process.number != 0;
        if freezes && !self.is_frozen() {
            self.set_frozen(true)?;
        }
        let plan = built_in::Plan { work, stdio: &child_stdio, mount_namespace, layers };
        let registered = built_in::spawn(plan)
            .map_err(|source| failure(Code::Setup, &SetupError { step: "create a process", source }))
            .and_then(|child| self.register(process.number, child, child_stdio, streams, freezes));
        if freezes && registered.is_err() {
            self.set_frozen(self.is_frozen())?;
        }
        registered
    }

    fn start_process(&mut self, process: &Process) -> Result<ProcessStarted, Failure> {
        if self.processes.iter().any(|running| running.number == process.number) {
            return Err(refusal(Code::InvalidArgument, "the process number is in use"));
        }
        if let Some(work) = &process.built_in {
            return self.start_built_in(process, work);
        }
        // It would freeze on the way to its program, and PID 1 with it.
        if self.is_frozen() {
            let why = if self.paused { "the container is paused" } else { "the container is being exported" };
            return Err(refusal(Code::Frozen, why));
        }
        let first = self.processes.iter().find(|running| running.number == 0);
        let Some(first) = first.and_then(|running| running.pidfd.as_ref()) else {
            return Err(refusal(Code::ProcessNotFound, "the container is not running"));
        };
        let first = rustix::io::fcntl_dupfd_cloexec(first, 3)
            .map_err(|source| failure(Code::Setup, &SetupError { step: "duplicate a descriptor", source }))?;
        let setup = |error: &dyn std::error::Error| failure(Code::Setup, error);
        let dialled = stdio::dial(process).map_err(|error| setup(&error))?;
        let (child_stdio, streams) = dialled.connect(process).map_err(|error| setup(&error))?;
        let child = self.spawn(Surroundings::Of(first.as_fd()), process, &child_stdio, false)?;
        self.register(process.number, child, child_stdio, streams, false)
    }

    fn spawn(
        &mut self,
        surroundings: Surroundings<'_>,
        process: &Process,
        stdio: &ChildStdio,
        with_initializer: bool,
    ) -> Result<Child, Failure> {
        let machine = self.machine.as_ref().map_err(|error| failure(Code::Setup, error))?;
        let cgroup = machine.cgroup.as_fd();
        let bounding_set = self.bounding_set;
        let request = spawn::Request { surroundings, process, stdio, cgroup, bounding_set };
        if with_initializer {
            return spawn::spawn_with_initializer(request).map_err(Failure::from);
        }
        spawn::spawn(stack(&mut self.stack)?, request).map_err(Failure::from)
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

    /// Watches a new process and its streams.
    fn register(
        &mut self,
        number: u32,
        child: Child,
        child_stdio: ChildStdio,
        streams: Vec<Stream>,
        freezes: bool,
    ) -> Result<ProcessStarted, Failure> {
        let started = ProcessStarted { number, pid: child.pid, started_ns: boot_time_ns() };
        // The pipes' other ends: without this no stream would ever end.
        drop(child_stdio);
        let watch = |source| failure(Code::Setup, &SetupError { step: "watch a process", source });
        let data = EventData::new_u64(PROCESS | u64::from(number));
        epoll::add(&self.epoll, &child.pidfd, data, EventFlags::IN).map_err(watch)?;
        self.processes.push(Running { number, pidfd: Some(child.pidfd), ended: None, freezes });
        for stream in streams {
            self.add_stream(stream).map_err(watch)?;
        }
        Ok(started)
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
            let event =
                ProcessExited { number, exit_code: ended.exit_code, signal: ended.signal, out_of_memory };
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

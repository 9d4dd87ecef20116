//! From the request for a process to one that is watched.

use std::os::fd::{AsFd, OwnedFd};

use bulkhead_guest_protocol::messages::guest_message::Body;
use bulkhead_guest_protocol::messages::{
    BuiltIn, Failure, Mount, Process, ProcessStarted, Progress, RootFilesystem, Start, built_in::Work,
    failure::Code,
};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;

use super::{EventLoop, HOST_SOCKET, PROCESS, refusal, stack};
use crate::boot::boot_time_ns;
use crate::failure::{SetupError, failure};
use crate::mounts::PreparedMount;
use crate::process::Running;
use crate::process::child::Surroundings;
use crate::process::clone::Child;
use crate::process::container::ContainerPlan;
use crate::process::spawn::{self, adopt_pid_namespace};
use crate::process::stdio::{self, ChildStdio};
use crate::root_filesystem::Root;
use crate::streams::Stream;
use crate::volume_content::EmptyVolumes;
use crate::{
    built_in, capabilities, cgroup, devices_directory, emulation, entropy, generated_files, mounts, network,
    root_filesystem, volume_content, vsock,
};

impl EventLoop {
    pub(super) fn start(&mut self, mut start: Start) -> Result<ProcessStarted, Failure> {
        if std::mem::replace(&mut self.started, true) {
            return Err(refusal(Code::InvalidArgument, "the container was already started"));
        }
        let process =
            start.process.take().ok_or_else(|| refusal(Code::InvalidArgument, "no process given"))?;
        if process.number != 0 {
            return Err(refusal(Code::InvalidArgument, "the first process is number 0"));
        }
        let root = start.root.take();
        let root = root.ok_or_else(|| refusal(Code::InvalidArgument, "no root file system given"))?;
        vsock::set_secret(&start.stream_secret)
            .map_err(|_| refusal(Code::InvalidArgument, "no secret of the streams given"))?;
        if let Some(work) = &process.built_in {
            return self.start_maintenance(&root, &start, &process, work);
        }
        let setup = |error: &dyn std::error::Error| failure(Code::Setup, error);
        let step =
            |step: &'static str| move |source: Errno| failure(Code::Setup, &SetupError { step, source });
        // Answered by the host while the mounts are made. It does not wait for long, so not while volumes are filled.
        let fills = start.mounts.iter().any(|mount| mount.fill);
        let dial = || stdio::dial(&process).map_err(|error| setup(&error));
        let early = if fills { None } else { Some(dial()?) };
        entropy::add(&start.random_seed).map_err(step("add entropy"))?;
        let Root { mount_namespace, layers } =
            root_filesystem::assemble(&root).map_err(|error| setup(&error))?;
        self.emulation = emulation::register(&root).map_err(|error| setup(&error))?;
        if !start.hostname.is_empty() {
            rustix::system::sethostname(start.hostname.as_bytes()).map_err(step("set the hostname"))?;
        }
        network::configure(&start.interfaces).map_err(|error| setup(&error))?;
        if let Some(limits) = &start.limits {
            cgroup::apply(&self.machine()?.cgroup, limits).map_err(|error| setup(&error))?;
        }
        let devices = devices_directory::finish(start.privileged, process.terminal, start.shm_size_bytes)
            .and_then(|devices| devices_directory::add(&devices, &start.devices).map(|()| devices))
            .map_err(step("complete /dev"))?;
        let mut files = generated_files::prepare(&start.files).map_err(|error| setup(&error))?;
        let sockets = self.forwards.listen(&self.epoll, HOST_SOCKET, &start.host_sockets);
        files.extend(sockets.map_err(step("listen in place of sockets of the host"))?);
        let mounts = mounts::prepare(&start.mounts).map_err(|error| setup(&error))?;
        let filled_mounts = self.fill_volumes(&start.mounts, &mounts, &mount_namespace)?;
        self.empty_volumes = EmptyVolumes::of(&start.mounts, &mounts, &filled_mounts);
        let plan = ContainerPlan {
            mount_namespace,
            layers,
            devices,
            mounts,
            files,
            sysctls: start.sysctls,
            masked_paths: start.masked_paths,
            readonly_paths: start.readonly_paths,
            privileged: start.privileged,
            read_only_root: root.read_only,
        };
        let dialled = early.map_or_else(dial, Ok)?;
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
        self.layers = Some(plan.layers);
        let started = self.register(process.number, child, child_stdio, streams, false)?;
        Ok(ProcessStarted { filled_mounts, ..started })
    }

    fn fill_volumes(
        &mut self,
        mounts: &[Mount],
        prepared: &[PreparedMount],
        mount_namespace: &OwnedFd,
    ) -> Result<Vec<u32>, Failure> {
        volume_content::fill(mounts, prepared, mount_namespace, || {
            // A host that is not there any more is found out by the next who reads.
            let _ = self.control.send(0, Body::Progress(Progress {}));
        })
    }

    /// A machine for the files of a container that does not run: nothing of the container is started.
    fn start_maintenance(
        &mut self,
        root: &RootFilesystem,
        start: &Start,
        process: &Process,
        work: &BuiltIn,
    ) -> Result<ProcessStarted, Failure> {
        let setup = |error: &dyn std::error::Error| failure(Code::Setup, error);
        entropy::add(&start.random_seed)
            .map_err(|source| setup(&SetupError { step: "add entropy", source }))?;
        let root = root_filesystem::assemble(root).map_err(|error| setup(&error))?;
        let mounts = mounts::prepare(&start.mounts).map_err(|error| setup(&error))?;
        let filled_mounts = self.fill_volumes(&start.mounts, &mounts, &root.mount_namespace)?;
        self.empty_volumes = EmptyVolumes::of(&start.mounts, &mounts, &filled_mounts);
        self.mount_namespace = Some(root.mount_namespace);
        self.layers = Some(root.layers);
        let inside = built_in::Inside { mounts: &mounts, covered: &start.covered_paths };
        let started = self.start_built_in(process, work, inside)?;
        Ok(ProcessStarted { filled_mounts, ..started })
    }

    pub(super) fn start_built_in(
        &mut self,
        process: &Process,
        work: &BuiltIn,
        inside: built_in::Inside<'_>,
    ) -> Result<ProcessStarted, Failure> {
        let work = work.work.as_ref().ok_or_else(|| refusal(Code::InvalidArgument, "unknown built-in"))?;
        let setup = |error: &dyn std::error::Error| failure(Code::Setup, error);
        let dialled = stdio::dial(process).map_err(|error| setup(&error))?;
        let (child_stdio, streams) = dialled.connect(process).map_err(|error| setup(&error))?;
        let (Some(mount_namespace), Some(layers)) = (&self.mount_namespace, &self.layers) else {
            return Err(refusal(Code::ProcessNotFound, "the container is not running"));
        };
        // Number 0 is alone in its machine.
        let is_to_freeze = match work {
            Work::Export(_) => true,
            Work::PackChanges(request) => request.freeze,
            _ => false,
        };
        let freezes = is_to_freeze && process.number != 0;
        if freezes && !self.is_frozen() {
            self.set_frozen(true)?;
        }
        let plan = built_in::Plan { work, stdio: &child_stdio, mount_namespace, layers, inside };
        let registered = built_in::spawn(plan)
            .map_err(|source| failure(Code::Setup, &SetupError { step: "create a process", source }))
            .and_then(|child| self.register(process.number, child, child_stdio, streams, freezes));
        if freezes && registered.is_err() {
            self.set_frozen(self.is_frozen())?;
        }
        registered
    }

    pub(super) fn start_process(&mut self, process: &Process) -> Result<ProcessStarted, Failure> {
        if self.processes.iter().any(|running| running.number == process.number) {
            return Err(refusal(Code::InvalidArgument, "the process number is in use"));
        }
        if let Some(work) = &process.built_in {
            return self.start_built_in(process, work, built_in::Inside::default());
        }
        // It would freeze on the way to its program, and PID 1 with it.
        if self.is_frozen() {
            let why = if self.paused { "the container is paused" } else { "its files are being read" };
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

    /// Watches a new process and its streams.
    fn register(
        &mut self,
        number: u32,
        child: Child,
        child_stdio: ChildStdio,
        streams: Vec<Stream>,
        freezes: bool,
    ) -> Result<ProcessStarted, Failure> {
        let (pid, started_ns) = (child.pid, boot_time_ns());
        let started = ProcessStarted { number, pid, started_ns, filled_mounts: Vec::new() };
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
}

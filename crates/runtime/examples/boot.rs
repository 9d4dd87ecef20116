//! Boots one UML guest without the rest of the project and says what each step took: the workbench
//! of vminitd.
//!
//! ```text
//! boot --kernel linux --initrd initramfs.cpio --layer base.erofs --layer top.erofs --disk disk.ext4 \
//!      [--memory 256M] [--user 1000] [--tty] [--stdin] [--init] [--privileged] [--read-only] [--cwd /tmp] \
//!      [--env A=B] [--mount type,source,destination,options] [--exec N program] [--limit-memory BYTES] \
//!      -- program arguments
//! ```
//! `--exec N` runs the program N times more while the first process lives.
#![expect(clippy::print_stderr, reason = "a tool for a terminal")]

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::Shutdown as Half;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bulkhead_devices::{
    BlockConfiguration, BlockDevice, Extent, GuestConnection, VsockConfiguration, VsockDevice,
};
use bulkhead_guest_protocol::messages::guest_message::Body;
use bulkhead_guest_protocol::messages::host_message::Request;
use bulkhead_guest_protocol::messages::{
    GeneratedFile, GuestMessage, HostMessage, LayerExtent, Mount, NetworkInterface, Process, ReadStatistics,
    ResourceLimits, RootFilesystem, Shutdown, SignalProcess, Start, StartProcess, User,
};
use bulkhead_guest_protocol::stream::{HEADER_LENGTH_BYTES, StreamHeader, StreamKind, StreamSecret};
use bulkhead_guest_protocol::{CONTROL_PORT, STREAM_PORT, frame};

const SECRET: StreamSecret = StreamSecret::new([7; 16]);
const DOCKER_CAPABILITIES: u64 = 0xa804_25fb;
const MAC_ADDRESS: [u8; 6] = [2, 0, 0, 0, 0, 5];
const MAC_ADDRESS_TEXT: &str = "02:00:00:00:00:05";
const BLOCK_DEVICE_ID: u32 = 2;
const VSOCK_DEVICE_ID: u32 = 19;
/// Layers on the image disk start at multiples of this.
const ALIGNMENT_BYTES: u64 = 4096;

#[derive(Default)]
struct Options {
    values: BTreeMap<String, Vec<String>>,
    program: Vec<String>,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self::default();
        while let Some(argument) = arguments.next() {
            let Some(name) = argument.strip_prefix("--") else { bail!("unexpected {argument}") };
            match name {
                "" => {
                    options.program = arguments.collect();
                    return Ok(options);
                }
                "tty" | "stdin" | "init" | "privileged" | "read-only" | "console" | "kill" | "statistics"
                | "network" => {
                    options.values.entry(name.to_owned()).or_default();
                }
                _ => {
                    let value = arguments.next().with_context(|| format!("{argument} needs a value"))?;
                    options.values.entry(name.to_owned()).or_default().push(value);
                }
            }
        }
        Ok(options)
    }

    fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    fn all(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    fn one(&self, name: &str) -> Result<&str> {
        self.all(name).last().map(String::as_str).with_context(|| format!("--{name} is missing"))
    }
}

/// One guest and its clock.
struct Guest {
    control: UnixStream,
    connections: Receiver<GuestConnection>,
    born: Instant,
    request_id: u64,
    first_output: Arc<Mutex<Option<Instant>>>,
    copiers: Vec<std::thread::JoinHandle<()>>,
    forward_stdin: bool,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse(std::env::args().skip(1))?;
    let layers: Vec<File> = options.all("layer").iter().map(File::open).collect::<io::Result<_>>()?;
    let disk = OpenOptions::new().read(true).write(true).open(options.one("disk")?)?;
    let (image_extents, layer_extents) = image_disk(layers)?;

    let mut inherited = Vec::new();
    let _image = BlockDevice::spawn(socket(&mut inherited)?, block("image", image_extents, true))?;
    let length_bytes = disk.metadata()?.len();
    let extent = Extent { file: Arc::new(disk), file_offset_bytes: 0, length_bytes };
    let _disk = BlockDevice::spawn(socket(&mut inherited)?, block("disk", vec![extent], false))?;
    let vsock = VsockConfiguration::new("vsock", [CONTROL_PORT, STREAM_PORT]);
    let (_vsock, connections) = VsockDevice::spawn(socket(&mut inherited)?, vsock)?;

    let network = UnixDatagram::pair()?;
    inherited.push(rustix::io::fcntl_dupfd_cloexec(&network.1, 10)?);
    let born = Instant::now();
    let mut kernel = kernel_command(&options, &inherited)?.spawn()?;
    drop(inherited);
    let control = accept(&connections, CONTROL_PORT)?;
    let dialled = born.elapsed();
    let mut guest = Guest {
        control: control.stream,
        connections,
        born,
        request_id: 0,
        first_output: Arc::default(),
        copiers: Vec::new(),
        forward_stdin: options.has("stdin"),
    };
    let start = start(&options, layer_extents)?;
    let process = start.process.clone().unwrap_or_default();
    guest.send(Request::Start(start))?;
    let sent = born.elapsed();
    let result = guest.run(&options, &process, dialled, sent);
    if result.is_err() {
        kernel.kill()?;
    }
    kernel.wait()?;
    eprintln!("kernel gone {:?}", born.elapsed());
    result
}

fn image_disk(layers: Vec<File>) -> Result<(Vec<Extent>, Vec<LayerExtent>)> {
    let (mut extents, mut on_disk, mut start_bytes) = (Vec::new(), Vec::new(), 0);
    for file in layers {
        let length_bytes = file.metadata()?.len().next_multiple_of(ALIGNMENT_BYTES);
        extents.push(Extent { file: Arc::new(file), file_offset_bytes: 0, length_bytes });
        on_disk.push(LayerExtent { start_bytes, length_bytes });
        start_bytes += length_bytes;
    }
    Ok((extents, on_disk))
}

fn block(name: &str, extents: Vec<Extent>, read_only: bool) -> BlockConfiguration {
    BlockConfiguration { name: name.to_owned(), extents, read_only, serial: [0; 20] }
}

/// One end for a device, the other for the kernel to inherit.
fn socket(inherited: &mut Vec<OwnedFd>) -> Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    inherited.push(rustix::io::fcntl_dupfd_cloexec(theirs, 10)?);
    Ok(ours)
}

fn kernel_command(options: &Options, inherited: &[OwnedFd]) -> Result<Command> {
    let mut command = Command::new(options.one("kernel")?);
    command.arg(format!("mem={}", options.one("memory").unwrap_or("256M")));
    command.arg(format!("initrd={}", options.one("initrd")?));
    command.arg("con=null");
    command.arg(if options.has("console") { "con0=null,fd:2" } else { "con0=null" });
    if !options.has("console") {
        command.args(["quiet", "loglevel=1"]);
    }
    command.args(["panic=-1", "lpj=8000000"]);
    for (descriptor, device) in inherited.iter().zip([BLOCK_DEVICE_ID, BLOCK_DEVICE_ID, VSOCK_DEVICE_ID]) {
        command.arg(format!("virtio_uml.device=fd:{}:{device}", descriptor.as_raw_fd()));
    }
    if let (true, Some(descriptor)) = (options.has("network"), inherited.last()) {
        let descriptor = descriptor.as_raw_fd();
        command.arg(format!("vec0:transport=fd,fd={descriptor},mac={MAC_ADDRESS_TEXT},mtu=1500"));
    }
    command.args(options.all("append"));
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let descriptors: Vec<i32> = inherited.iter().map(AsRawFd::as_raw_fd).collect();
    // SAFETY: only async-signal-safe calls between fork and exec.
    unsafe {
        command.pre_exec(move || {
            libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong);
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            for descriptor in &descriptors {
                libc::fcntl(*descriptor, libc::F_SETFD, 0);
            }
            Ok(())
        });
    }
    Ok(command)
}

fn start(options: &Options, layers: Vec<LayerExtent>) -> Result<Start> {
    let strings = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let privileged = options.has("privileged");
    let mounts = options.all("mount").iter().map(|text| {
        let mut parts = text.splitn(4, ',').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        let (r#type, source, destination) = (next(), next(), next());
        Mount {
            r#type,
            source,
            destination,
            options: vec![next()],
            subpath: String::new(),
            fill: false,
            tell_content: false,
        }
    });
    let interface = NetworkInterface {
        name: "eth0".to_owned(),
        mac_address: MAC_ADDRESS.to_vec(),
        addresses: strings(&["192.168.64.5/24", "fd00::5/64"]),
        ipv4_gateway: "192.168.64.1".to_owned(),
        ipv6_gateway: "fd00::1".to_owned(),
        mtu: 1400,
    };
    let limit_bytes = options.one("limit-memory").unwrap_or("0").parse()?;
    let file = |path: &str, contents: &[u8]| GeneratedFile {
        path: path.to_owned(),
        contents: contents.to_vec(),
        mode: 0o644,
    };
    Ok(Start {
        root: Some(RootFilesystem {
            image_device: "/dev/vda".to_owned(),
            layers,
            writable_device: "/dev/vdb".to_owned(),
            read_only: options.has("read-only"),
            emulators: Vec::new(),
        }),
        mounts: mounts.collect(),
        hostname: "guest".to_owned(),
        interfaces: if options.has("network") { vec![interface] } else { Vec::new() },
        files: vec![
            file("/etc/hosts", b"127.0.0.1 localhost\n"),
            file("/etc/resolv.conf", b"nameserver 192.168.64.1\n"),
            file("/etc/hostname", b"guest\n"),
        ],
        masked_paths: if privileged {
            Vec::new()
        } else {
            strings(&[
                "/proc/acpi",
                "/proc/asound",
                "/proc/interrupts",
                "/proc/kcore",
                "/proc/keys",
                "/proc/latency_stats",
                "/proc/sched_debug",
                "/proc/scsi",
                "/proc/timer_list",
                "/proc/timer_stats",
                "/sys/devices/virtual/powercap",
                "/sys/firmware",
            ])
        },
        covered_paths: Vec::new(),
        devices: Vec::new(),
        readonly_paths: if privileged {
            Vec::new()
        } else {
            strings(&["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"])
        },
        limits: Some(ResourceLimits { memory_bytes: limit_bytes, pids: 0, cpu_percent: 0 }),
        process: Some(process(options, 0, &options.program)),
        random_seed: vec![7; 32],
        stream_secret: SECRET.as_bytes().into(),
        init: options.has("init"),
        privileged,
        ..Start::default()
    })
}

fn process(options: &Options, number: u32, program: &[String]) -> Process {
    let mut environment = vec![b"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_vec()];
    environment.extend(options.all("env").iter().map(|text| text.clone().into_bytes()));
    Process {
        number,
        arguments: program.iter().map(|text| text.clone().into_bytes()).collect(),
        environment,
        working_directory: options.one("cwd").unwrap_or("/").as_bytes().to_vec(),
        user: Some(User { specification: options.one("user").unwrap_or("").to_owned(), ..User::default() }),
        terminal: options.has("tty"),
        rows: 24,
        columns: 80,
        stdin: options.has("stdin") && number == 0,
        capabilities: if options.has("privileged") { (1 << 41) - 1 } else { DOCKER_CAPABILITIES },
        ..Process::default()
    }
}

fn accept(connections: &Receiver<GuestConnection>, port: u32) -> Result<GuestConnection> {
    let connection = connections.recv_timeout(Duration::from_secs(20)).context("the guest does not dial")?;
    if connection.port != port {
        bail!("the guest dialled port {} instead of {port}", connection.port);
    }
    Ok(connection)
}

impl Guest {
    fn send(&mut self, request: Request) -> Result<()> {
        self.request_id += 1;
        let message = HostMessage { request_id: self.request_id, request: Some(request) };
        frame::write(&mut self.control, &message).context("cannot send to the guest")
    }

    fn receive(&mut self) -> Result<Body> {
        let message: Option<GuestMessage> = frame::read(&mut self.control)?;
        message.and_then(|message| message.body).context("the guest closed the connection")
    }

    fn run(
        &mut self,
        options: &Options,
        first: &Process,
        dialled: Duration,
        sent: Duration,
    ) -> Result<ExitCode> {
        let Body::Hello(hello) = self.receive()? else { bail!("no hello") };
        let greeted = self.born.elapsed();
        let started = match self.receive()? {
            Body::ProcessStarted(started) => started,
            other => {
                eprintln!("{other:?}");
                self.shut_down()?;
                return Ok(ExitCode::from(125));
            }
        };
        eprintln!(
            "kernel to main {:.1} ms; spawn to dialled {dialled:?}, Start sent {sent:?}, Hello {greeted:?}, started {:?} (guest clock: main to started {:.2} ms)",
            hello.init_entered_ns as f64 / 1e6,
            self.born.elapsed(),
            (started.started_ns - hello.init_entered_ns) as f64 / 1e6,
        );
        self.take_streams(first)?;
        self.run_more(options)?;
        if options.has("statistics") {
            self.send(Request::ReadStatistics(ReadStatistics {}))?;
            eprintln!("{:?}", self.receive()?);
        }
        if options.has("kill") {
            self.send(Request::SignalProcess(SignalProcess { number: 0, signal: 9 }))?;
        }
        loop {
            match self.receive()? {
                Body::ProcessExited(exited) => {
                    let first_output = self.first_output.lock().ok().and_then(|instant| *instant);
                    let first_output = first_output.map(|instant| instant - self.born);
                    eprintln!("first output {first_output:?}, exit {:?} {exited:?}", self.born.elapsed());
                    for copier in self.copiers.drain(..) {
                        let _ = copier.join();
                    }
                    self.shut_down()?;
                    return Ok(ExitCode::from(u8::try_from(exited.exit_code).unwrap_or(255)));
                }
                other => eprintln!("{other:?}"),
            }
        }
    }

    /// Measures further processes, one after the other.
    fn run_more(&mut self, options: &Options) -> Result<()> {
        let Some((count, program)) = options.all("exec").first().and_then(|text| text.split_once(' ')) else {
            return Ok(());
        };
        let program: Vec<String> = program.split(' ').map(str::to_owned).collect();
        let (mut starts, mut ends) = (Vec::new(), Vec::new());
        for number in 1..=count.parse::<u32>()? {
            let mut process = process(options, number, &program);
            process.stdin = false;
            let began = Instant::now();
            self.send(Request::StartProcess(StartProcess { process: Some(process.clone()) }))?;
            match self.receive()? {
                Body::ProcessStarted(_) => starts.push(began.elapsed()),
                other => {
                    eprintln!("{other:?}");
                    continue;
                }
            }
            self.take_streams(&process)?;
            match self.receive()? {
                Body::ProcessExited(_) => ends.push(began.elapsed()),
                other => eprintln!("{other:?}"),
            }
        }
        starts.sort();
        ends.sort();
        if let (Some(start), Some(end)) = (starts.get(starts.len() / 2), ends.get(ends.len() / 2)) {
            eprintln!(
                "{} further processes: started after {start:?}, ended after {end:?} (medians)",
                ends.len()
            );
        }
        Ok(())
    }

    fn take_streams(&mut self, process: &Process) -> Result<()> {
        let count = match (process.terminal, process.stdin) {
            (true, _) => 1,
            (false, true) => 3,
            (false, false) => 2,
        };
        for _ in 0..count {
            let mut stream = accept(&self.connections, STREAM_PORT)?.stream;
            let first_output = Arc::clone(&self.first_output);
            let forward_stdin = self.forward_stdin;
            self.copiers.push(std::thread::spawn(move || {
                if let Err(error) = carry(&mut stream, &first_output, forward_stdin) {
                    eprintln!("stream: {error:#}");
                }
            }));
        }
        Ok(())
    }

    fn shut_down(&mut self) -> Result<()> {
        let began = Instant::now();
        self.send(Request::Shutdown(Shutdown {}))?;
        let answer = self.receive()?;
        eprintln!("shutdown answered {answer:?} after {:?}", began.elapsed());
        Ok(())
    }
}

fn carry(stream: &mut UnixStream, first_output: &Mutex<Option<Instant>>, forward_stdin: bool) -> Result<()> {
    let mut header = [0; HEADER_LENGTH_BYTES];
    stream.read_exact(&mut header).context("no header")?;
    let header = StreamHeader::from_bytes(header, &SECRET)?;
    match header.kind {
        StreamKind::Stdin => {
            io::copy(&mut io::stdin().lock(), stream)?;
            stream.shutdown(Half::Write)?;
        }
        StreamKind::Stderr => {
            io::copy(stream, &mut io::stderr().lock())?;
        }
        // No socket is forwarded here.
        StreamKind::Forward | StreamKind::HostSocket => {}
        StreamKind::Stdout | StreamKind::Terminal => {
            if header.kind == StreamKind::Terminal && forward_stdin {
                let mut input = stream.try_clone()?;
                std::thread::spawn(move || io::copy(&mut io::stdin().lock(), &mut input));
            }
            let mut buffer = vec![0; 256 * 1024];
            let mut output = io::stdout().lock();
            loop {
                let count = stream.read(&mut buffer)?;
                if let Ok(mut instant) = first_output.lock() {
                    instant.get_or_insert_with(Instant::now);
                }
                if count == 0 {
                    break;
                }
                output.write_all(&buffer[..count])?;
                output.flush()?;
            }
        }
    }
    Ok(())
}

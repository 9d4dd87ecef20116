//! The virtio-fs device: takes requests from the guest's queues and answers them.
//!
//! Requests are answered in their order by one thread, for nearly all take less time than handing
//! them on would. Those that wait for disks are handed on. Between two requests the thread watches the
//! queue for a moment before it sleeps, and so does the guest: see kernel/patches, 0014.

use std::io::{self, Read as _, Write as _};
use std::num::Wrapping;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vhost_user_backend::bitmap::BitmapMmapRegion;
use vhost_user_backend::{VhostUserBackend, VringMutex, VringState, VringT};
use virtio_queue::{DescriptorChain, QueueOwnedT, QueueT};
use virtiofsd::descriptor_utils::{Reader, Writer};
use virtiofsd::filesystem::Context;
use virtiofsd::fuse::{CreateIn, EntryOut, InHeader, LkIn, Opcode, OpenOut, OutHeader};
use virtiofsd::server::Server;
use vm_memory::{
    ByteValued as _, GuestAddressSpace, GuestMemoryAtomic, GuestMemoryLoadGuard, GuestMemoryMmap,
};
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::event::{EventConsumer, EventFlag, EventNotifier, new_event_consumer_and_notifier};

use crate::folder::{self, Folder};
use crate::unnamed::{Creation, MAXIMUM_BYTES};
use crate::watches::waiting::Request;

/// Memory of the guest.
pub(crate) type Memory = GuestMemoryAtomic<GuestMemoryMmap<BitmapMmapRegion>>;
type Loaded = GuestMemoryLoadGuard<GuestMemoryMmap<BitmapMmapRegion>>;
type Chain = DescriptorChain<Loaded>;
type Queue = VringMutex<Memory>;

/// virtio 1.2, section 5.11.2: that of forgotten files and that of requests.
const QUEUES: usize = 2;
const MAXIMUM_QUEUE_SIZE: usize = 32768;
/// virtio 1.2, section 5.11.4.
const TAG_BYTES: usize = 36;
/// virtio 1.2, sections 6 and 2.7.
const VERSION_1: u64 = 1 << 32;
const INDIRECT_DESCRIPTORS: u64 = 1 << 28;
const EVENT_INDEX: u64 = 1 << 29;
/// To be woken takes longer than this.
const WATCH: Duration = Duration::from_micros(100);
/// Requests that may wait for the host's disks at a time.
const SLOW_THREADS: usize = 4;
/// Opcodes of our own, kernel/patches 0019: what is watched, and what happened to it.
const HOST_WATCH: u32 = 0x6268_0001;
const HOST_EVENTS: u32 = 0x6268_0002;
/// Slow requests that wait for a thread, as many as a usual queue holds.
const SLOW_WAITING: usize = 1024;

/// One device.
pub(crate) struct Device {
    tag: String,
    worker: Arc<Worker>,
    slow: mpsc::SyncSender<Slow>,
    state: RwLock<State>,
}

/// What answers.
struct Worker {
    folder: Folder,
    server: Server<Folder>,
}

#[derive(Default)]
struct State {
    memory: Option<Memory>,
    event_index: bool,
}

/// A request that may take its time.
struct Slow {
    queue: Queue,
    chain: Chain,
    memory: Loaded,
    event_index: bool,
}

impl Request for Slow {
    fn room(&self) -> usize {
        let writer = Writer::new(&self.memory, self.chain.clone());
        writer.map_or(0, |writer| writer.available_bytes()).saturating_sub(size_of::<OutHeader>())
    }

    fn answer(self: Box<Self>, outcome: io::Result<&[u8]>) {
        let Self { queue, chain, memory, event_index } = *self;
        let head = chain.head_index();
        let try_answer = || {
            let header = header(&memory, &chain).context("a request is too short")?;
            let writer = Writer::new(&memory, chain.clone()).context("a chain cannot be written")?;
            reply_bytes(writer, header.unique, outcome)
        };
        let length = answered(try_answer());
        give_back(&mut queue.get_mut(), head, length, event_index);
    }
}

impl Device {
    /// Starts the threads of slow requests.
    ///
    /// # Errors
    /// There are no threads.
    pub(crate) fn new(tag: &str, folder: Folder) -> Result<Self> {
        let worker = Arc::new(Worker { server: Server::new(folder.clone()), folder });
        // A guest that offers a request again before it is answered waits like any other.
        let (slow, orders) = mpsc::sync_channel::<Slow>(SLOW_WAITING);
        let orders = Arc::new(Mutex::new(orders));
        for _ in 0..SLOW_THREADS {
            let (worker, orders) = (Arc::clone(&worker), Arc::clone(&orders));
            let work = move || {
                loop {
                    let order = orders.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(Slow { queue, chain, memory, event_index }) = order else { return };
                    let head = chain.head_index();
                    let length = worker.answer(&memory, chain);
                    give_back(&mut queue.get_mut(), head, length, event_index);
                }
            };
            std::thread::Builder::new()
                .name("slow".to_owned())
                .spawn(work)
                .context("cannot start a thread")?;
        }
        Ok(Self { tag: tag.to_owned(), worker, slow, state: RwLock::default() })
    }

    /// Answers what is there; tells whether anything was.
    fn process(&self, queue: &Queue, memory: &Memory, event_index: bool) -> io::Result<bool> {
        let loaded = memory.memory();
        let mut any = false;
        loop {
            let next = {
                let mut state = queue.get_mut();
                let mut chains = state.get_queue_mut().iter(loaded.clone()).map_err(io::Error::other)?;
                chains.next()
            };
            let Some(chain) = next else { return Ok(any) };
            any = true;
            let opcode = header(&loaded, &chain).map_or(0, |header| header.opcode);
            let order = |chain| Slow { queue: queue.clone(), chain, memory: loaded.clone(), event_index };
            if is_slow(opcode) {
                self.slow.send(order(chain)).map_err(io::Error::other)?;
                continue;
            }
            if opcode == HOST_EVENTS {
                self.worker.folder.waiting().ask(Box::new(order(chain)));
                continue;
            }
            let head = chain.head_index();
            let length = self.worker.answer(&loaded, chain);
            give_back(&mut queue.get_mut(), head, length, event_index);
        }
    }

    /// Answers until nothing has come for a moment.
    fn process_all(&self, queues: &[Queue], memory: &Memory, event_index: bool) -> io::Result<()> {
        loop {
            for queue in queues {
                queue.disable_notification().map_err(io::Error::other)?;
            }
            let mut since = Instant::now();
            loop {
                let mut any = false;
                for queue in queues {
                    if has_work(queue, memory)? {
                        any |= self.process(queue, memory, event_index)?;
                    }
                }
                if any {
                    since = Instant::now();
                } else if since.elapsed() > WATCH {
                    break;
                }
                std::hint::spin_loop();
            }
            let mut more = false;
            for queue in queues {
                more |= queue.enable_notification().map_err(io::Error::other)?;
            }
            if !more {
                return Ok(());
            }
        }
    }
}

/// A queue that was not set up has none.
fn has_work(queue: &Queue, memory: &Memory) -> io::Result<bool> {
    let state = queue.get_ref();
    let queue = state.get_queue();
    let available = queue.avail_idx(&*memory.memory(), Ordering::Acquire).map_err(io::Error::other)?;
    Ok(available != Wrapping(queue.next_avail()))
}

fn is_ready(queue: &Queue) -> bool {
    let state = queue.get_ref();
    state.is_enabled() && state.get_queue().ready()
}

fn header(memory: &Loaded, chain: &Chain) -> Option<InHeader> {
    Reader::new(memory, chain.clone()).ok().and_then(|mut reader| reader.read_obj().ok())
}

/// What waits for disks. The guest says what it is, and may be wrong at its own expense.
fn is_slow(opcode: u32) -> bool {
    [Opcode::Fsync, Opcode::Fsyncdir, Opcode::Syncfs].iter().any(|slow| *slow as u32 == opcode)
}

fn give_back(state: &mut VringState<Memory>, head: u16, length: u32, event_index: bool) {
    // The guest's rings are the guest's own affair.
    let _ = state.add_used(head, length);
    if !event_index || state.needs_notification().unwrap_or(true) {
        let _ = state.signal_used_queue();
    }
}

/// Returns the length of the answer. A chain in which none can be written ends the server, and with
/// it the machine.
fn answered(outcome: Result<usize>) -> u32 {
    match outcome {
        Ok(length) => u32::try_from(length).unwrap_or(u32::MAX),
        Err(error) => {
            crate::complain(&error.context("the machine broke the rules of its device"));
            std::process::exit(1);
        }
    }
}

impl Worker {
    fn answer(&self, memory: &Loaded, chain: Chain) -> u32 {
        answered(self.try_answer(memory, chain))
    }

    fn try_answer(&self, memory: &Loaded, chain: Chain) -> Result<usize> {
        let mut reader = Reader::new(memory, chain.clone()).context("a chain cannot be read")?;
        let writer = Writer::new(memory, chain.clone()).context("a chain cannot be written")?;
        let header: InHeader = reader.read_obj().context("a request is too short")?;
        match header.opcode {
            opcode if opcode == Opcode::Setlk as u32 => {
                let request: LkIn = reader.read_obj().context("a lock is too short")?;
                let outcome = self.folder.set_lock(Context::from(header), header.nodeid, &request);
                reply(writer, header.unique, outcome.map(|()| [0_u8; 0]))
            }
            opcode if opcode == Opcode::Getlk as u32 => {
                let request: LkIn = reader.read_obj().context("a lock is too short")?;
                let outcome = self.folder.get_lock(Context::from(header), header.nodeid, &request);
                reply(writer, header.unique, outcome)
            }
            // linux/fuse.h: asked and answered as a file with a name that is created.
            opcode if opcode == Opcode::TmpFile as u32 => {
                let fixed: CreateIn = reader.read_obj().context("a request is too short")?;
                let mut rest = vec![0; reader.available_bytes().min(MAXIMUM_BYTES)];
                reader.read_exact(&mut rest).context("a request is too short")?;
                let outcome = Creation::parse(&fixed, &rest)
                    .and_then(|wanted| self.folder.create_unnamed(header.into(), header.nodeid, &wanted));
                let outcome = outcome.map(|(entry, fh)| {
                    let opened = OpenOut { fh, ..OpenOut::default() };
                    [EntryOut::from(entry).as_slice(), opened.as_slice()].concat()
                });
                reply_bytes(writer, header.unique, outcome.as_deref().map_err(copy))
            }
            HOST_WATCH => {
                // Of eight bytes the first four count.
                let mask: [u32; 2] = reader.read_obj().context("a watch is too short")?;
                let outcome = self.folder.watch(header.nodeid, mask[0]);
                reply(writer, header.unique, outcome.map(|()| [0_u8; 0]))
            }
            // Only a kernel without our patches wants the server to wait.
            opcode if opcode == Opcode::Setlkw as u32 => {
                let refusal = io::Error::from_raw_os_error(libc::ENOLCK);
                reply::<[u8; 0]>(writer, header.unique, Err(refusal))
            }
            _ => {
                let reader = Reader::new(memory, chain).context("a chain cannot be read")?;
                let answer = || self.server.handle_message(reader, writer, None::<&mut ()>);
                let is_listing = header.opcode == Opcode::Readdirplus as u32;
                Ok(if is_listing { folder::list(answer)? } else { answer()? })
            }
        }
    }
}

fn reply<T: vm_memory::ByteValued>(writer: Writer<'_>, unique: u64, outcome: io::Result<T>) -> Result<usize> {
    reply_bytes(writer, unique, outcome.as_ref().map(T::as_slice).map_err(copy))
}

fn reply_bytes(mut writer: Writer<'_>, unique: u64, outcome: io::Result<&[u8]>) -> Result<usize> {
    let (error, body) = match outcome {
        Ok(body) => (0, body),
        Err(error) => (-error.raw_os_error().unwrap_or(libc::EIO), Default::default()),
    };
    let length = size_of::<OutHeader>() + body.len();
    let len = u32::try_from(length)?;
    writer.write_obj(OutHeader { len, error, unique }).context("an answer does not fit")?;
    writer.write_all(body).context("an answer does not fit")?;
    Ok(length)
}

/// Of an error its number is told.
fn copy(error: &io::Error) -> io::Error {
    io::Error::from_raw_os_error(error.raw_os_error().unwrap_or(libc::EIO))
}

impl VhostUserBackend for Device {
    type Bitmap = BitmapMmapRegion;
    type Vring = Queue;

    fn num_queues(&self) -> usize {
        QUEUES
    }

    fn max_queue_size(&self) -> usize {
        MAXIMUM_QUEUE_SIZE
    }

    fn features(&self) -> u64 {
        VERSION_1 | INDIRECT_DESCRIPTORS | EVENT_INDEX | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits()
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        VhostUserProtocolFeatures::MQ
            | VhostUserProtocolFeatures::REPLY_ACK
            | VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS
            | VhostUserProtocolFeatures::CONFIG
            | VhostUserProtocolFeatures::RESET_DEVICE
    }

    /// virtio 1.2, section 5.11.4: the tag, and how many queues of requests there are.
    fn get_config(&self, offset: u32, size: u32) -> Vec<u8> {
        let mut bytes = self.tag.clone().into_bytes();
        bytes.resize(TAG_BYTES, 0);
        bytes.extend(1_u32.to_le_bytes());
        let mut part: Vec<u8> = bytes.into_iter().skip(offset as usize).take(size as usize).collect();
        part.resize(size as usize, 0);
        part
    }

    fn reset_device(&self) {
        self.worker.folder.waiting().forget();
        self.worker.server.destroy();
    }

    fn set_event_idx(&self, enabled: bool) {
        self.state.write().unwrap_or_else(PoisonError::into_inner).event_index = enabled;
    }

    fn update_memory(&self, memory: Memory) -> io::Result<()> {
        self.state.write().unwrap_or_else(PoisonError::into_inner).memory = Some(memory);
        Ok(())
    }

    fn handle_event(&self, event: u16, _set: EventSet, queues: &[Queue], _thread: usize) -> io::Result<()> {
        let (memory, event_index) = {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            (
                state.memory.clone().ok_or_else(|| io::Error::other("a machine without memory"))?,
                state.event_index,
            )
        };
        let wanted = |index: usize, queue: &Queue| index == usize::from(event) || is_ready(queue);
        let ready: Vec<Queue> = queues
            .iter()
            .enumerate()
            .filter(|(index, queue)| wanted(*index, queue))
            .map(|(_, queue)| queue.clone())
            .collect();
        if event_index {
            return self.process_all(&ready, &memory, event_index);
        }
        for queue in &ready {
            self.process(queue, &memory, event_index)?;
        }
        Ok(())
    }

    fn exit_event(&self, _thread: usize) -> Option<(EventConsumer, EventNotifier)> {
        new_event_consumer_and_notifier(EventFlag::NONBLOCK).ok()
    }
}

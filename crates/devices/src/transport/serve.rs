//! The loop of a device's thread

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rustix::event::{Timespec, epoll};
use vm_memory::GuestMemoryMmap;

use super::channel::{Channel, ChannelEnd};
use super::control::{Control, ControlFault};
use super::{Ring, RingFault};
use crate::DeviceEnd;

const STOP_TOKEN: u64 = 0;
const CONTROL_TOKEN: u64 = 1;
const FIRST_KICK_TOKEN: u64 = 2;
/// Tokens below this one belong to the loop, the others to the device.
pub(crate) const FIRST_DEVICE_TOKEN: u64 = 1 << 32;
const EVENTS_PER_WAIT: usize = 64;
/// Messages of the monitor after which the queues get a turn.
const MESSAGES_PER_TURN: usize = 64;

/// The queues that the driver has kicked, or that have just started, since the device ran last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KickedQueues(u64);

impl KickedQueues {
    pub(crate) fn contains(self, queue: usize) -> bool {
        self.0 >> queue & 1 == 1
    }
}

/// What a device works on.
#[derive(Debug)]
pub(crate) struct Queues<'a> {
    pub(crate) memory: &'a GuestMemoryMmap,
    pub(crate) rings: &'a mut [Ring],
}

/// Whether a device has stopped for want of work or to let others have a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nothing can be done before the next event.
    Idle,
    /// The device wants to run again without waiting.
    More,
}

/// The part that differs between devices.
pub(crate) trait VirtioDevice {
    /// Number of virtqueues, at most 30.
    const QUEUES: usize;

    /// Feature bits of the device itself.
    fn features(&self) -> u64;

    /// The device's configuration space.
    fn configuration(&self) -> Vec<u8>;

    /// Notes that a descriptor which the device has registered under `token` is ready.
    fn note_event(&mut self, token: u64, flags: epoll::EventFlags);

    /// Does whatever can be done now, but not for long.
    fn run(&mut self, kicked: KickedQueues, queues: &mut Queues<'_>) -> Result<Progress, RingFault>;
}

/// Serves `device` to the monitor behind `stream` until one of them is gone.
pub(crate) fn serve<D: VirtioDevice>(
    stream: UnixStream,
    stop: &OwnedFd,
    epoll: Arc<OwnedFd>,
    device: &mut D,
) -> DeviceEnd {
    match serve_until_fault(stream, stop, epoll, device) {
        Ok(end) | Err(end) => end,
    }
}

fn serve_until_fault<D: VirtioDevice>(
    stream: UnixStream,
    stop: &OwnedFd,
    epoll: Arc<OwnedFd>,
    device: &mut D,
) -> Result<DeviceEnd, DeviceEnd> {
    watch(&epoll, stop, STOP_TOKEN).map_err(DeviceEnd::Poll)?;
    watch(&epoll, &stream, CONTROL_TOKEN).map_err(DeviceEnd::Poll)?;
    let features = device.features();
    let configuration = device.configuration();
    let control = Control::new(features, configuration, D::QUEUES, Arc::clone(&epoll), FIRST_KICK_TOKEN);
    let mut control = control.map_err(DeviceEnd::Ring)?;
    let mut channel = Channel::new(stream);

    let mut events = Vec::with_capacity(EVENTS_PER_WAIT);
    let mut progress = Progress::Idle;
    loop {
        wait(&epoll, &mut events, progress).map_err(DeviceEnd::Poll)?;
        let mut kicked = 0_u64;
        let mut control_ready = false;
        for event in events.drain(..) {
            match event.data.u64() {
                STOP_TOKEN => return Ok(DeviceEnd::Stopped),
                CONTROL_TOKEN => control_ready = true,
                token if token >= FIRST_DEVICE_TOKEN => device.note_event(token, event.flags),
                token => kicked |= 1 << (token - FIRST_KICK_TOKEN),
            }
        }
        if control_ready {
            obey(&mut channel, &mut control)?;
        }
        let Control { ram, rings, started, .. } = &mut control;
        kicked |= std::mem::take(started);
        let mut queues = Queues { memory: ram.table(), rings };
        progress = device.run(KickedQueues(kicked), &mut queues).map_err(DeviceEnd::Ring)?;
    }
}

fn watch(epoll: &OwnedFd, descriptor: impl AsFd, token: u64) -> io::Result<()> {
    Ok(epoll::add(epoll, descriptor, epoll::EventData::new_u64(token), epoll::EventFlags::IN)?)
}

fn wait(epoll: &OwnedFd, events: &mut Vec<epoll::Event>, progress: Progress) -> io::Result<()> {
    let at_once = Timespec::default();
    let timeout = (progress == Progress::More).then_some(&at_once);
    match epoll::wait(epoll, rustix::buffer::spare_capacity(events), timeout) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Handles the messages that have arrived.
fn obey(channel: &mut Channel, control: &mut Control) -> Result<(), DeviceEnd> {
    for _ in 0..MESSAGES_PER_TURN {
        let Some((header, request)) = channel.receive().map_err(end_of_connection)? else { break };
        if let Some(reply) = control.handle(request).map_err(DeviceEnd::Control)? {
            channel.reply(header, &reply).map_err(end_of_connection)?;
        }
    }
    Ok(())
}

fn end_of_connection(end: ChannelEnd) -> DeviceEnd {
    match end {
        ChannelEnd::Disconnected => DeviceEnd::Disconnected,
        ChannelEnd::Nonsense => DeviceEnd::Control(ControlFault::Nonsense),
        ChannelEnd::Failed(error) => DeviceEnd::Connection(error.into()),
    }
}

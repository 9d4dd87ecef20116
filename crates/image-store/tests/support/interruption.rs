//! Runs operations on a thread whose changing system calls are judged one by one before they happen.
//!
//! ```text
//!  test ──operation──▶ stage (thread under a seccomp filter, with all threads that it starts)
//!   │                     │ open for writing, write, fsync, rename, unlink, … stop here
//!   └──────judge──▶ supervisor ──▶ go on, or fail with an error
//! ```
//!
//! `SECCOMP_RET_USER_NOTIF` (seccomp(2), seccomp_unotify(2)) keeps the calling thread waiting until the supervisor
//! has answered. While it thinks, nothing changes: a copy of the disk made then is what a process leaves that is
//! killed at this very call. No code under test knows of it, so a write that is added later is judged as well.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use libseccomp::{
    ScmpAction, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpNotifReq, ScmpNotifResp,
    ScmpNotifRespFlags, ScmpSyscall,
};

/// Device and inode of a regular file.
pub(crate) type FileIdentity = (u64, u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Needs room on the disk.
    Grows,
    /// Makes what was written durable.
    Syncs,
    /// Removes a name.
    Removes,
}

/// A system call that is about to happen.
#[derive(Debug)]
pub(crate) struct Step {
    /// From 0, in one operation.
    pub(crate) number: usize,
    pub(crate) call: String,
    pub(crate) effect: Effect,
    /// The regular file that its descriptor leads to.
    pub(crate) file: Option<FileIdentity>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    GoOn,
    Fail(rustix::io::Errno),
}

type Judge = Box<dyn FnMut(&Step) -> Verdict + Send>;
type Job = Box<dyn FnOnce() + Send>;

/// System calls that change a file that they have open.
const ON_DESCRIPTORS: [(&str, Effect); 14] = [
    ("write", Effect::Grows),
    ("writev", Effect::Grows),
    ("pwrite64", Effect::Grows),
    ("pwritev", Effect::Grows),
    ("pwritev2", Effect::Grows),
    ("copy_file_range", Effect::Grows),
    ("sendfile", Effect::Grows),
    ("splice", Effect::Grows),
    ("fallocate", Effect::Grows),
    ("ftruncate", Effect::Grows),
    ("fchmod", Effect::Grows),
    ("fsync", Effect::Syncs),
    ("fdatasync", Effect::Syncs),
    ("sync_file_range", Effect::Syncs),
];
/// System calls that change names.
const ON_NAMES: [(&str, Effect); 14] = [
    ("rename", Effect::Grows),
    ("renameat", Effect::Grows),
    ("renameat2", Effect::Grows),
    ("link", Effect::Grows),
    ("linkat", Effect::Grows),
    ("symlink", Effect::Grows),
    ("symlinkat", Effect::Grows),
    ("mkdir", Effect::Grows),
    ("mkdirat", Effect::Grows),
    ("truncate", Effect::Grows),
    ("creat", Effect::Grows),
    ("unlink", Effect::Removes),
    ("unlinkat", Effect::Removes),
    ("rmdir", Effect::Removes),
];
/// Which argument is the descriptor that is written to, where it is not the first.
const THIRD: [&str; 2] = ["copy_file_range", "splice"];

struct Stage {
    jobs: SyncSender<Job>,
    bench: Arc<Mutex<Option<Bench>>>,
}

/// Who judges the operation under way, and how many steps it has seen.
struct Bench {
    judge: Judge,
    steps: usize,
}

/// One at a time: libseccomp makes one notification descriptor in the life of a process.
static STAGE: OnceLock<Mutex<Stage>> = OnceLock::new();

/// Runs `operation`, with each of its steps judged. Its panic is the caller's.
pub(crate) fn judged<T: Send + 'static>(
    operation: impl FnOnce() -> T + Send + 'static,
    judge: impl FnMut(&Step) -> Verdict + Send + 'static,
) -> T {
    let stage = STAGE.get_or_init(|| Mutex::new(set_up()));
    let stage = stage.lock().unwrap_or_else(PoisonError::into_inner);
    let bench = Bench { judge: Box::new(judge), steps: 0 };
    *stage.bench.lock().unwrap_or_else(PoisonError::into_inner) = Some(bench);
    let (sender, receiver) = sync_channel(1);
    let job = move || {
        let outcome = catch_unwind(AssertUnwindSafe(operation));
        drop(sender.send(outcome));
    };
    stage.jobs.send(Box::new(job)).unwrap();
    let outcome = receiver.recv().unwrap();
    *stage.bench.lock().unwrap_or_else(PoisonError::into_inner) = None;
    outcome.unwrap_or_else(|panic| resume_unwind(panic))
}

fn set_up() -> Stage {
    let (jobs, queue) = sync_channel::<Job>(0);
    let (sender, notifications) = sync_channel(1);
    let bench = Arc::new(Mutex::new(None));
    let kept = Arc::clone(&bench);
    // First, so that it is not itself under the filter.
    std::thread::spawn(move || supervise(&notifications, &kept));
    std::thread::spawn(move || {
        let filter = install();
        sender.send(filter.get_notify_fd().unwrap()).unwrap();
        for job in queue {
            job();
        }
    });
    Stage { jobs, bench }
}

fn install() -> ScmpFilterContext {
    let mut filter = ScmpFilterContext::new(ScmpAction::Allow).unwrap();
    for (name, _) in ON_DESCRIPTORS.iter().chain(&ON_NAMES) {
        filter.add_rule(ScmpAction::Notify, ScmpSyscall::from_name(name).unwrap()).unwrap();
    }
    filter.add_rule(ScmpAction::Notify, ScmpSyscall::from_name("openat2").unwrap()).unwrap();
    let flags = [rustix::fs::OFlags::WRONLY, rustix::fs::OFlags::RDWR, rustix::fs::OFlags::CREATE];
    for (call, position) in [("open", 1), ("openat", 2)] {
        for flag in flags.map(|flag| u64::from(flag.bits())) {
            let has_flag = ScmpArgCompare::new(position, ScmpCompareOp::MaskedEqual(flag), flag);
            let call = ScmpSyscall::from_name(call).unwrap();
            filter.add_rule_conditional(ScmpAction::Notify, call, &[has_flag]).unwrap();
        }
    }
    filter.load().unwrap();
    filter
}

fn supervise(notifications: &Receiver<i32>, bench: &Mutex<Option<Bench>>) {
    let effects: HashMap<&str, Effect> = ON_DESCRIPTORS.into_iter().chain(ON_NAMES).collect();
    let descriptor = notifications.recv().unwrap();
    loop {
        // A thread that has ended since takes its question with it.
        let Ok(request) = ScmpNotifReq::receive(descriptor) else { continue };
        let call = request.data.syscall.get_name().unwrap();
        let effect = effects.get(&*call).copied().unwrap_or(Effect::Grows);
        let is_on_descriptor = ON_DESCRIPTORS.iter().any(|(name, _)| *name == call);
        let argument = if THIRD.contains(&&*call) { 2 } else { 0 };
        let file = is_on_descriptor.then(|| file_behind(request.data.args[argument])).flatten();
        let mut bench = bench.lock().unwrap_or_else(PoisonError::into_inner);
        let verdict = match &mut *bench {
            // Not pipes, sockets and events.
            Some(bench) if !is_on_descriptor || file.is_some() => {
                let number = bench.steps;
                bench.steps += 1;
                (bench.judge)(&Step { number, call, effect, file })
            }
            _ => Verdict::GoOn,
        };
        drop(bench);
        let response = match verdict {
            Verdict::GoOn => ScmpNotifResp::new_continue(request.id, ScmpNotifRespFlags::empty()),
            Verdict::Fail(error) => {
                ScmpNotifResp::new_error(request.id, -error.raw_os_error(), ScmpNotifRespFlags::empty())
            }
        };
        drop(response.respond(descriptor));
    }
}

/// Directories count: they are synced as well.
fn file_behind(descriptor: u64) -> Option<FileIdentity> {
    let metadata = std::fs::metadata(format!("/proc/self/fd/{descriptor}")).ok()?;
    (metadata.is_file() || metadata.is_dir()).then(|| (metadata.dev(), metadata.ino()))
}

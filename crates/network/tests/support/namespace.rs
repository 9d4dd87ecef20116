//! Network namespaces that live as long as their value.

use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use rustix::thread::{UnshareFlags, unshare_unsafe};

type Job = Box<dyn FnOnce() + Send>;

/// A thread in network and mount namespaces of its own.
pub(crate) struct Namespace {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    thread_id: i32,
}

impl Namespace {
    pub(crate) fn new() -> Self {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (sender, receiver) = mpsc::channel();
        let thread = thread::spawn(move || {
            // SAFETY: no descriptor table is unshared.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET | UnshareFlags::NEWNS) }.unwrap();
            run_program("mount", &["--make-rprivate", "/"]);
            sender.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
            for job in queue {
                job();
            }
        });
        Self { jobs: Some(jobs), thread: Some(thread), thread_id: receiver.recv().unwrap() }
    }

    /// By which ip(8) finds the namespace.
    pub(crate) fn thread_id(&self) -> i32 {
        self.thread_id
    }

    /// Runs code in the namespace; sockets opened there stay there.
    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (sender, receiver) = mpsc::channel();
        self.jobs
            .as_ref()
            .unwrap()
            .send(Box::new(move || {
                let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
                drop(sender.send(outcome));
            }))
            .unwrap();
        receiver.recv().unwrap().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.jobs.take();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Covers a file with another, for this thread's mount namespace.
pub(crate) fn private_mount(source: &Path, target: &Path) {
    let target = target.canonicalize().unwrap();
    run_program("mount", &["--bind", source.to_str().unwrap(), target.to_str().unwrap()]);
}

pub(crate) fn run_program(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

//! Signals on their way to a container's process.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// A signal's number.
pub(crate) type Number = i32;

/// Ends this command while nothing runs that could be told.
const ENDING: [Number; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];

/// Forwarded besides: everything that can be caught but CHLD and PIPE, which are this process's own
/// affairs, URG, which runtimes send themselves, and faults.
const FORWARDED: [Number; 16] = [
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGSTKFLT,
    libc::SIGCONT,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGXCPU,
    libc::SIGXFSZ,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGWINCH,
    libc::SIGIO,
    libc::SIGPWR,
    libc::SIGSYS,
];

/// Signals in the order of their arrival.
#[derive(Debug)]
pub(crate) struct Signals {
    sender: mpsc::UnboundedSender<Number>,
    receiver: mpsc::UnboundedReceiver<Number>,
}

impl Signals {
    /// Catches those that end a command.
    pub(crate) fn ending() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let signals = Self { sender, receiver };
        ENDING.iter().for_each(|number| signals.catch(*number));
        signals
    }

    /// Catches everything that a process may want to hear of.
    pub(crate) fn catch_all(&self) {
        FORWARDED.iter().for_each(|number| self.catch(*number));
        (libc::SIGRTMIN()..=libc::SIGRTMAX()).for_each(|number| self.catch(number));
    }

    /// Catches changes of the window's size.
    pub(crate) fn catch_resize(&self) {
        self.catch(libc::SIGWINCH);
    }

    fn catch(&self, number: Number) {
        // A signal that the kernel does not let us have keeps its default action.
        let Ok(mut stream) = signal(SignalKind::from_raw(number)) else { return };
        let sender = self.sender.clone();
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                if sender.send(number).is_err() {
                    return;
                }
            }
        });
    }

    /// The next one.
    pub(crate) async fn next(&mut self) -> Number {
        match self.receiver.recv().await {
            Some(number) => number,
            // Unreachable while `self.sender` lives.
            None => std::future::pending().await,
        }
    }
}

/// Whether a user who wants out sends it.
pub(crate) fn is_interrupt(number: Number) -> bool {
    number == libc::SIGINT || number == libc::SIGTERM
}

/// Whether it ends a command that cannot forward it.
pub(crate) fn is_ending(number: Number) -> bool {
    ENDING.contains(&number)
}

//! Follows a run, start or exec until there is nothing more to follow.

use std::path::Path;

use bulkhead_api::error::{ApiError, ErrorCode};
use bulkhead_api::event::{DetachReason, StreamEvent};
use bulkhead_api::request::{ResizeRequest, SignalRequest};
use bulkhead_client::{Client, EventStream};
use tokio::sync::{mpsc, watch};

use crate::commands::cidfile::CidFile;
use crate::exit_status::ExitStatus;
use crate::failure::{self, Failure};
use crate::output::progress::Progress;
use crate::output::{self, escape, message};
use crate::terminal::raw_mode::RawMode;
use crate::terminal::signals::{self, Number, Signals};
use crate::terminal::streams::Streams;
use crate::terminal::window;

/// Without a terminal, this many INT or TERM mean that the user wants out whatever the process does.
const INTERRUPTS_UNTIL_EXIT: u32 = 3;

/// What a followed stream came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It runs, detached; the container's id.
    Started(String),
    /// It goes on without this command.
    Detached,
    /// It ended.
    Exited(ExitStatus),
}

impl Outcome {
    /// How the command ends; a detached start prints the id.
    pub(crate) fn conclude(self) -> Result<ExitStatus, Failure> {
        match self {
            Self::Exited(status) => Ok(status),
            Self::Detached => Ok(ExitStatus::Success),
            Self::Started(id) => {
                output::print(&output::escape::text(&id))?;
                Ok(ExitStatus::Success)
            }
        }
    }
}

/// What becomes of a process that goes on when this command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Afterwards {
    /// Nothing.
    GoesOn,
    /// Its container was to be removed when it stops, and is stopped.
    IsRemoved,
    /// It hears SIGHUP, as at the end of a terminal.
    IsHungUp,
}

impl Afterwards {
    /// Of the first process of a container.
    pub(crate) fn of_container(auto_remove: bool) -> Self {
        if auto_remove { Self::IsRemoved } else { Self::GoesOn }
    }

    fn describe(self) -> &'static str {
        match self {
            Self::GoesOn => "the process goes on",
            Self::IsRemoved => "the container is stopped and removed",
            Self::IsHungUp => "the process is sent SIGHUP",
        }
    }
}

/// One conversation about one process.
#[derive(Debug)]
pub(crate) struct Session {
    client: Client,
    streams: Streams,
    progress: Progress,
    cidfile: Option<CidFile>,
    raw_mode: Option<RawMode>,
    handed_over: bool,
    process: Option<Forwarder>,
    /// Caught from the moment in which the process may be heard of.
    signals: Option<Signals>,
    /// Came before the process could be told.
    early_signals: Vec<Number>,
    interrupts: u32,
    keeps_signals: bool,
    afterwards: Afterwards,
}

impl Session {
    /// About the process that gets these streams.
    pub(crate) fn new(client: Client, streams: Streams, progress: Progress) -> Self {
        Self {
            client,
            streams,
            progress,
            cidfile: None,
            raw_mode: None,
            handed_over: false,
            process: None,
            signals: None,
            early_signals: Vec::new(),
            interrupts: 0,
            keeps_signals: false,
            afterwards: Afterwards::GoesOn,
        }
    }

    /// Passes no signal on: one ends this command, as it would without a process to follow.
    pub(crate) fn keeping_signals(mut self) -> Self {
        self.keeps_signals = true;
        self
    }

    /// With what becomes of the process without this command.
    pub(crate) fn leaving(mut self, afterwards: Afterwards) -> Self {
        self.afterwards = afterwards;
        self
    }

    /// Writes the id there once it is known.
    pub(crate) fn with_cidfile(mut self, path: Option<&Path>) -> Result<Self, Failure> {
        self.cidfile = path.map(CidFile::reserve).transpose()?;
        Ok(self)
    }

    /// The streams to send.
    pub(crate) fn streams(&self) -> &Streams {
        &self.streams
    }

    /// From now on keys and signals are the process's: the terminal is in raw mode, and signals wait until
    /// the process can be told. `run` waits with it until an image is pulled, so that Ctrl-C ends the pull.
    ///
    /// Called in a runtime, and before the process can write anything: who reads its first line may
    /// answer with a signal at once.
    pub(crate) fn hand_over(&mut self) -> Result<(), Failure> {
        let signals = self.signals.take().unwrap_or_else(Signals::ending);
        let handed_over = self.hand_over_to(&signals);
        self.signals = Some(signals);
        handed_over
    }

    fn hand_over_to(&mut self, signals: &Signals) -> Result<(), Failure> {
        if self.handed_over || self.streams.is_detached() {
            return Ok(());
        }
        self.handed_over = true;
        let Some(terminal) = self.streams.terminal() else {
            if !self.keeps_signals {
                signals.catch_all();
            }
            return Ok(());
        };
        signals.catch_resize();
        let raw_mode = RawMode::enter(terminal).map_err(|error| {
            Failure::caused_by(ErrorCode::InternalError, "cannot set up the terminal", &error)
        })?;
        self.raw_mode = Some(raw_mode);
        Ok(())
    }

    /// Reads events until the stream's last.
    pub(crate) async fn follow(mut self, mut events: EventStream) -> Result<Outcome, Failure> {
        let mut signals = self.signals.take().unwrap_or_else(Signals::ending);
        loop {
            tokio::select! {
                biased;
                event = events.next() => match event? {
                    Some(event) => {
                        if let Some(outcome) = self.handle(event, &signals)? {
                            return Ok(outcome);
                        }
                    }
                    None => return Err(ended_early()),
                },
                number = signals.next() => self.signalled(number)?,
            }
        }
    }

    fn handle(&mut self, event: StreamEvent, signals: &Signals) -> Result<Option<Outcome>, Failure> {
        match event {
            StreamEvent::Progress { item, completed_bytes, total_bytes } => {
                self.progress.update(&item, completed_bytes, total_bytes);
            }
            StreamEvent::Notice { message } => self.progress.notice(&message),
            StreamEvent::Created { id } => {
                self.progress.finish();
                if let Some(cidfile) = self.cidfile.take() {
                    cidfile.write(&id)?;
                }
                self.hand_over_to(signals)?;
            }
            StreamEvent::Started { id, .. } if self.streams.is_detached() => {
                return Ok(Some(Outcome::Started(id)));
            }
            StreamEvent::Started { id, process } => self.started(id, process, signals)?,
            StreamEvent::Detached { id, reason } => {
                self.raw_mode = None;
                tell_detached(&id, self.process.as_ref(), reason);
                return Ok(Some(Outcome::Detached));
            }
            StreamEvent::Exited { exit_code, message } => {
                self.raw_mode = None;
                let status = process_status(exit_code);
                let Some(message) = message else { return Ok(Some(Outcome::Exited(status))) };
                failure::tell(&ApiError::new(ErrorCode::InternalError, message));
                return Ok(Some(Outcome::Exited(status.of_failure())));
            }
            StreamEvent::Finished { .. } | StreamEvent::ImageMade { .. } => {
                return Err(unexpected("about an image"));
            }
            // The client turns it into an error before.
            StreamEvent::Failed(error) => return Err(Failure::Refused(error)),
        }
        Ok(None)
    }

    fn started(&mut self, id: String, process: u32, signals: &Signals) -> Result<(), Failure> {
        self.progress.finish();
        self.hand_over_to(signals)?;
        let forwarder = Forwarder::start(self.client.clone(), id, process);
        // The window may have changed since the request was sent.
        let size = self.streams.terminal().and_then(window::size);
        if size != self.streams.request_size() {
            forwarder.resize(size);
        }
        self.early_signals.drain(..).for_each(|number| forwarder.signal(number));
        self.process = Some(forwarder);
        Ok(())
    }

    fn signalled(&mut self, number: Number) -> Result<(), Failure> {
        message::debug(&format!("signal {number}"));
        let ended = || Failure::Signal(u8::try_from(number).unwrap_or(u8::MAX));
        let ending = signals::is_ending(number);
        if let Some(terminal) = self.streams.terminal() {
            // Keys do not become signals in raw mode: this one is meant for this command.
            if ending {
                return Err(ended());
            }
            if let Some(process) = &self.process {
                process.resize(window::size(terminal));
            }
            return Ok(());
        }
        if self.keeps_signals || (ending && !self.handed_over) {
            return Err(ended());
        }
        if signals::is_interrupt(number) {
            self.interrupts += 1;
            if self.interrupts >= INTERRUPTS_UNTIL_EXIT {
                let afterwards = self.afterwards.describe();
                message::line(&format!("interrupted three times: {afterwards}, this command ends"));
                return Err(Failure::Reported);
            }
        }
        match &self.process {
            Some(process) => process.signal(number),
            None => self.early_signals.push(number),
        }
        Ok(())
    }
}

/// Passes signals and sizes on, in order and beside the events.
#[derive(Debug)]
struct Forwarder {
    process: u32,
    signals: mpsc::UnboundedSender<Number>,
    sizes: watch::Sender<Option<(u16, u16)>>,
}

impl Forwarder {
    fn start(client: Client, id: String, process: u32) -> Self {
        let (signals, mut signal_receiver) = mpsc::unbounded_channel::<Number>();
        // Only the latest size matters: a storm of resizes costs one request at a time.
        let (sizes, mut size_receiver) = watch::channel(None);
        let (resize_client, resize_id) = (client.clone(), id.clone());
        tokio::spawn(async move {
            while let Some(number) = signal_receiver.recv().await {
                let request = SignalRequest { signal: number.to_string() };
                if let Err(error) = client.signal_process(&id, process, &request).await {
                    message::debug(&format!("signal {number} was not delivered: {error}"));
                }
            }
        });
        tokio::spawn(async move {
            while size_receiver.changed().await.is_ok() {
                let size = *size_receiver.borrow_and_update();
                let Some((rows, columns)) = size else { continue };
                let request = ResizeRequest { rows, columns };
                if let Err(error) = resize_client.resize_terminal(&resize_id, process, request).await {
                    message::debug(&format!("the terminal was not resized: {error}"));
                }
            }
        });
        Self { process, signals, sizes }
    }

    fn signal(&self, number: Number) {
        // The receiver lives as long as the runtime.
        let _ = self.signals.send(number);
    }

    fn resize(&self, size: Option<(u16, u16)>) {
        self.sizes.send_replace(size);
    }
}

/// On stderr: stdout belongs to the process.
fn tell_detached(id: &str, process: Option<&Forwarder>, reason: DetachReason) {
    let id = escape::text(id);
    let first = process.is_none_or(|process| process.process == 0);
    message::line(&match (reason, first) {
        (DetachReason::Replaced, _) => format!("detached: another client has attached to container '{id}'"),
        (DetachReason::Keys, true) => format!("detached: attach again with `container attach {id}`"),
        (DetachReason::Keys, false) => format!("detached: the command goes on in container '{id}'"),
    });
}

fn process_status(code: i32) -> ExitStatus {
    match u8::try_from(code) {
        Ok(0) => ExitStatus::Success,
        Ok(code) => ExitStatus::Process(code),
        // No process has such a code.
        Err(_) => ExitStatus::Process(u8::MAX),
    }
}

pub(crate) fn ended_early() -> Failure {
    Failure::refused(ErrorCode::Interrupted, "container services ended before the command was complete")
}

pub(crate) fn unexpected(event: &str) -> Failure {
    Failure::refused(
        ErrorCode::InternalError,
        format!("container services sent the unexpected event {event}"),
    )
}

//! Requests, replies and events.

use serde::{Deserialize, Serialize};

use crate::{ExitStatus, ProcessSpecification, RuntimeSpecification, RuntimeStatus, Timeline};

/// What a descriptor of a request is for; requests list them in the order of the descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DescriptorPurpose {
    /// The client's stdin: read by the helper.
    Stdin,
    /// The client's stdout: written by the helper.
    Stdout,
    /// The client's stderr.
    Stderr,
    /// The client's terminal, already in raw mode: read and written.
    Terminal,
    /// Packet socket of the n-th entry of `RuntimeSpecification::networks`.
    Network,
}

/// A request with its id, which the reply repeats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestFrame {
    /// Unique per connection.
    pub id: u64,
    /// What is asked.
    pub request: Request,
    /// Meaning of the descriptors that come with the frame.
    #[serde(default)]
    pub descriptors: Vec<DescriptorPurpose>,
}

/// What can be asked of a helper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::large_enum_variant, reason = "a request is sent or taken once, and never kept")]
pub enum Request {
    /// Boot and run. Once, on the inherited connection; subscribes it. Replied at once with `Done`;
    /// `Event::Started` or `Event::Stopped` follows.
    Start(Box<RuntimeSpecification>),
    /// Send events from now on. Replied with `Status`.
    Subscribe,
    /// Replied with `Status`.
    Status,
    /// Run a further process; descriptors are its stdio. Replied when it was executed; its end is
    /// an event on every subscribed connection. `number` is chosen by the apiserver, from 1 up.
    StartProcess {
        /// Its number.
        number: u32,
        /// What to run.
        process: ProcessSpecification,
    },
    /// Send a signal. Replied with `Done`.
    Signal {
        /// 0 is the first process.
        number: u32,
        /// Signal number.
        signal: u32,
    },
    /// Change a terminal's size. Replied with `Done`.
    Resize {
        /// Process.
        number: u32,
        /// Rows.
        rows: u16,
        /// Columns.
        columns: u16,
    },
    /// Let go of the client's descriptors of a process (its client is gone); output continues
    /// into the log. Nothing happens when another client has taken its place. Replied with `Done`.
    Detach {
        /// Process.
        number: u32,
        /// Its client; 0 came with `Start` or `StartProcess`. Absent: whoever it is.
        client: Option<u64>,
    },
    /// Connect a client's descriptors to a process in place of those of the client before, whose
    /// subscribers hear of it. Replied with `Done`.
    Attach {
        /// Process.
        number: u32,
        /// Chosen by the apiserver, from 1 up; never used twice.
        client: u64,
        /// What lets go of the client when it is typed at its terminal; empty: nothing.
        #[serde(default)]
        detach_keys: Vec<u8>,
    },
    /// Replied with `Statistics`.
    Statistics,
    /// Freeze the container's processes, or let them go on. Replied with `Done`, after `Event::Paused`.
    SetPaused {
        /// Freeze.
        paused: bool,
    },
    /// The container has another name, as its directories have already. Replied with `Done`.
    Rename {
        /// Validated container id.
        container_id: String,
    },
    /// End the VM at once by SIGKILL; the exit status becomes 137. Replied with `Done`.
    Kill,
}

/// Frames from the helper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Message {
    /// Answer to the request of that id.
    Reply {
        /// Of the request.
        id: u64,
        /// What came of it.
        result: Result<Reply, Failure>,
    },
    /// Something happened.
    Event(Event),
}

/// Successful answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reply {
    /// Nothing more to say.
    Done,
    /// State of the container.
    Status(RuntimeStatus),
    /// Resource use.
    Statistics(Statistics),
}

/// Resource use of the container since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statistics {
    /// Now.
    pub memory_usage_bytes: u64,
    /// Limit.
    pub memory_limit_bytes: u64,
    /// Cumulative.
    pub cpu_usage_us: u64,
    /// Cumulative.
    pub network_received_bytes: u64,
    /// Cumulative.
    pub network_sent_bytes: u64,
    /// Cumulative.
    pub block_read_bytes: u64,
    /// Cumulative.
    pub block_written_bytes: u64,
    /// Now.
    pub process_count: u64,
}

/// Closed set of failure kinds, so that callers never match on text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FailureCode {
    /// Exit code 127.
    ExecutableNotFound,
    /// Exit code 126.
    ExecutableNotRunnable,
    /// No such user or group in the image.
    UserNotFound,
    /// The request makes no sense.
    InvalidArgument,
    /// Not in this state.
    InvalidState,
    /// No such process.
    ProcessNotFound,
    /// The VM did not start or ended.
    VmFailed,
    /// Setting up the guest failed.
    Setup,
    /// A layer or disk is not what its file system must be.
    DamagedFileSystem,
    /// A deadline passed.
    Timeout,
}

/// A refused or failed request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[error("{message}")]
pub struct Failure {
    /// Kind.
    pub code: FailureCode,
    /// One sentence naming the object.
    pub message: String,
}

/// Why a client was let go of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DetachCause {
    /// Its detach keys were typed.
    Keys,
    /// Another client was attached.
    Replaced,
}

/// What a subscribed connection is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Event {
    /// The container's process was executed.
    Started {
        /// How long it took.
        timeline: Timeline,
        /// Of the guest kernel.
        kernel_release: String,
        /// Process id of the VMM on the host.
        vmm_pid: u32,
    },
    /// The start takes long, and is still under way.
    Progress,
    /// The start failed; `Stopped` follows.
    StartFailed(Failure),
    /// A client's descriptors were let go of without being asked to.
    Detached {
        /// Process.
        number: u32,
        /// Client.
        client: u64,
        /// Why.
        cause: DetachCause,
    },
    /// A process ended (also number 0) and all its output was delivered.
    ProcessExited {
        /// Process.
        number: u32,
        /// How.
        status: ExitStatus,
    },
    /// The container's processes were frozen or thawed.
    Paused {
        /// Frozen.
        paused: bool,
    },
    /// The guest has stopped to answer, or answers again.
    Responsiveness {
        /// RFC 3339, UTC; absent when it answers.
        unresponsive_since: Option<String>,
    },
    /// The VM is gone and the exit status durable. Last event; the helper ends.
    Stopped {
        /// Of the container.
        status: ExitStatus,
    },
}

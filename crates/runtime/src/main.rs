//! container-runtime-linux: the helper that owns one VM.
//!
//! ```text
//!  main thread       starts the VMM, then decides everything: one queue of inputs, no shared state
//!  connection n      reads requests of an apiserver
//!  accept            reads what the guest's new vsock connections are for
//!  agent             reads what vminitd says
//!  stream n          moves one stdio stream between guest, client and log
//!  published         accepts clients of one published socket
//!  forward           moves the bytes of one of them, or of a connection to the SSH agent
//!  console           keeps the end of what the guest kernel prints
//!  watch             sees the VMM, a device or the user's patience end
//!  device n          serves a virtio device (bulkhead-devices)
//! ```
//!
//! The apiserver may start helpers ahead: before `Start` arrives on descriptor 3 nothing here depends
//! on any container.

mod accept;
mod agent;
mod console;
mod exit;
mod forwards;
mod input;
mod log_writer;
mod machine;
mod process_setup;
mod server;
mod source;
mod streams;
mod text;
mod translation;
mod watch;

use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            process_setup::complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    process_setup::prepare()?;
    let control = process_setup::inherited_control()?;
    match server::receive_start(&control)? {
        Some(order) => machine::run(control, order),
        // Whoever kept this helper in reserve is gone.
        None => Ok(()),
    }
}

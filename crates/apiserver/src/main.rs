//! container-apiserver: owns names, state, images and the life of every container.
//!
//! The command line talks HTTP to it over a Unix socket (`bulkhead_api::route`). It runs no
//! container itself: each has a `container-runtime-linux` of its own, which outlives this process.

mod allocator;
mod arguments;
mod container;
mod daemon;
mod date;
mod disk;
mod disk_usage;
mod error;
mod events;
mod helper_pool;
mod history;
mod http;
mod image;
mod lock;
mod logs;
mod machine;
mod network;
mod process_limits;
mod readiness;
mod records;
mod service;
mod settings;
mod spawn;
mod trash;
mod volume;

use std::process::ExitCode;

use arguments::Arguments;

fn main() -> ExitCode {
    let outcome = Arguments::parse(std::env::args().skip(1)).and_then(|arguments| daemon::run(&arguments));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            report(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "whoever started the daemon reads the reason there")]
fn report(error: &anyhow::Error) {
    eprintln!("container-apiserver: {error:#}");
}

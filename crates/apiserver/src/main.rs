//! container-apiserver: owns names, state, images and the life of every container.
//!
//! The command line talks HTTP to it over a Unix socket (`bulkhead_api::route`). It runs no
//! container itself: each has a `container-runtime-linux` of its own, which outlives this process.

mod allocator;
mod arguments;
mod as_owner;
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
mod owners;
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
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == as_owner::ARGUMENT) {
        return finish(as_owner::child(words));
    }
    finish(Arguments::parse(std::env::args().skip(1)).and_then(|arguments| daemon::run(&arguments)))
}

fn finish(outcome: anyhow::Result<()>) -> ExitCode {
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

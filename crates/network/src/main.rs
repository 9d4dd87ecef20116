//! container-network: the network namespace, its bridges, addresses, names and published ports.
//!
//! Started by the apiserver with one end of a socket pair as descriptor 3; lives until it is told to
//! shut down, so that containers keep their network when the apiserver dies.

mod address;
mod control;
mod dns;
mod egress;
mod firewall;
mod inherited;
mod netlink;
mod networks;
mod outlet;
mod pin;
mod port;
mod ports;
mod rootless;
mod start;
mod subnet;
mod subnet6;
mod uplink;
mod worker;

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|argument| argument == rootless::holder::ARGUMENT) {
        return finish(rootless::holder::hold());
    }
    // Before anything else can get descriptor 3.
    let inherited = inherited::take();
    finish(start::run(inherited))
}

fn finish(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// stderr is where the starter looks when there is no log yet.
#[expect(clippy::print_stderr, reason = "the last words of a program that could not start")]
fn complain(error: &anyhow::Error) {
    eprintln!("container-network: {error:#}");
}

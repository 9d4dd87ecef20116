//! container-network: the network namespace, its bridges, addresses, names and published ports.
//!
//! Started by the apiserver with one end of a socket pair as descriptor 3; lives until it is told to
//! shut down, so that containers keep their network when the apiserver dies.

mod control;
mod dns;
mod firewall;
mod inherited;
mod netlink;
mod networks;
mod pin;
mod port;
mod ports;
mod start;
mod subnet;
mod uplink;
mod worker;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else can get descriptor 3.
    let inherited = inherited::take();
    match start::run(inherited) {
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

//! A server in a container that answers with what it hears, and its client.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::{Installation, PATIENCE, put_program};

/// Has a running container answer on a port, TCP and UDP.
#[track_caller]
pub fn serve_echo(installation: &Installation, container: &str, port: u16) {
    put_program(installation, container, "echo_server");
    installation.run_ok(&["exec", "-d", container, "/bin/echo_server", &port.to_string()]);
}

/// What a TCP server answers to `hello`; `None` while nobody answers.
#[must_use]
pub fn exchange(address: SocketAddr) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(b"hello").ok()?;
    stream.shutdown(Shutdown::Write).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    Some(answer)
}

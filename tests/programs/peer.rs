//! Talks over Unix sockets inside a container. Linked statically by the tests, so that any image runs it.
//!
//! `peer serve PATH`: answers each connection, once its client has half-closed it, with all that it said.
//! `peer ask PATH`: says what stdin says, half-closes, prints the answer.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().collect();
    match (words[1].as_str(), words[2].as_str()) {
        ("serve", path) => serve(&UnixListener::bind(path)?),
        (_, path) => ask(UnixStream::connect(path)?),
    }
}

fn serve(listener: &UnixListener) -> io::Result<()> {
    println!("listening");
    for stream in listener.incoming() {
        let mut stream = stream?;
        thread::spawn(move || {
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).and_then(|_| stream.write_all(&bytes))
        });
    }
    Ok(())
}

fn ask(stream: UnixStream) -> io::Result<()> {
    let mut writer = stream.try_clone()?;
    let sender = thread::spawn(move || {
        io::copy(&mut io::stdin(), &mut writer)?;
        writer.shutdown(Shutdown::Write)
    });
    let mut reader = stream;
    io::copy(&mut reader, &mut io::stdout())?;
    sender.join().expect("sender")
}

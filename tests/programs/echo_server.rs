//! `echo_server PORT`: answers, over TCP, each connection with all that it said once that has ended, and over
//! UDP each datagram with itself. Linked statically by the tests, so that any image runs it.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::thread;

fn main() -> io::Result<()> {
    let port: u16 = std::env::args().nth(1).expect("port").parse().expect("port");
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
    thread::spawn(move || {
        let mut buffer = [0; 65536];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            drop(socket.send_to(&buffer[..length], peer));
        }
    });
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

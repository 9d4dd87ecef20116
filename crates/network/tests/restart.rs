//! A container-network that dies takes nothing with it.

#![expect(clippy::unwrap_used, reason = "a fixture that fails is a test that fails")]
mod support;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc;
use std::thread;

use bulkhead_network_control::{
    ClientError, FailureCode, PortRange, Protocol, PublishRequest, Request, RestoreRequest,
};
use support::guest::Guest;
use support::{Daemon, Host, OUTSIDE, SOON, plain, restoration};

fn create_default_network(host: &Host, daemon: &Daemon) {
    host.request(daemon, Request::CreateNetwork(support::default_network())).unwrap();
}

/// Says something and hears the same.
fn echo(stream: &mut TcpStream) {
    stream.write_all(b"still here").unwrap();
    let mut answer = [0; 10];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"still here");
}

#[test]
fn connections_survive_it_and_the_next_one_takes_over() {
    let host = Host::new();
    let server = host.outside.run(|| TcpListener::bind((OUTSIDE, 7000)).unwrap());
    thread::spawn(move || {
        let mut stream = server.accept().unwrap().0;
        let mut buffer = [0; 100];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            stream.write_all(&buffer[..length]).unwrap();
        }
    });
    // One that says nothing until it is told to, to a container that says nothing at all.
    let (speak, may_speak) = mpsc::channel::<()>();
    let late = host.outside.run(|| TcpListener::bind((OUTSIDE, 7001)).unwrap());
    thread::spawn(move || {
        let mut stream = late.accept().unwrap().0;
        may_speak.recv().unwrap();
        stream.write_all(b"late").unwrap();
    });
    let before = host.start("before");
    let daemon = host.start("a");
    create_default_network(&host, &daemon);
    let [one, two] = ["one", "two"].map(|id| host.lease(&daemon, id));
    let restorations = [restoration(&plain("one"), &one.0), restoration(&plain("two"), &two.0)];
    let (one, two) = (Guest::new(one), Guest::new(two));
    let mut stream = one.namespace.run(|| TcpStream::connect((OUTSIDE, 7000)).unwrap());
    stream.set_read_timeout(Some(SOON)).unwrap();
    echo(&mut stream);
    let mut silent = one.namespace.run(|| TcpStream::connect((OUTSIDE, 7001)).unwrap());
    silent.set_read_timeout(Some(SOON)).unwrap();
    daemon.kill();

    // Nobody is there, and the containers do not notice.
    echo(&mut stream);
    let listening = two.namespace.run(|| UdpSocket::bind("0.0.0.0:7000").unwrap());
    listening.set_read_timeout(Some(SOON)).unwrap();
    let (sending, target) = (one.namespace.run(|| UdpSocket::bind("0.0.0.0:0").unwrap()), two.address);
    sending.send_to(b"x", (target, 7000)).unwrap();
    listening.recv(&mut [0; 10]).unwrap();

    // That the first uplink is free now is no reason to be another one than before.
    host.request(&before, Request::Shutdown).unwrap();
    let daemon = host.start("a");
    create_default_network(&host, &daemon);
    for request in restorations.clone() {
        host.request(&daemon, Request::Restore(request)).unwrap();
    }
    let container_ids = vec!["one".to_owned(), "two".to_owned()];
    host.request(&daemon, Request::Retain { container_ids }).unwrap();
    // The new uplink carries what the old one did, whoever speaks first.
    speak.send(()).unwrap();
    silent.read_exact(&mut [0; 4]).unwrap();
    echo(&mut stream);
    // What has a port already is restored once more, in vain and without harm.
    host.request(&daemon, Request::Restore(restorations[0].clone())).unwrap();

    // New containers get other addresses; what belonged to nobody has gone, or they could not be made.
    let more: Vec<_> = (0..6).map(|number| host.lease(&daemon, &format!("new{number}"))).collect();
    let taken = [one.address, two.address].map(|address| format!("{address}/24"));
    assert!(more.iter().all(|(lease, _)| !taken.contains(&lease.ipv4_address)));

    let port = PortRange {
        host_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        host_port: 0,
        container_port: 7001,
        protocol: Protocol::Tcp,
        count: 1,
    };
    let request =
        PublishRequest { container_id: "two".to_owned(), network: "default".to_owned(), ports: vec![port] };
    host.request(&daemon, Request::Publish(request)).unwrap();
    // What it still keeps out, too: addresses of others.
    let spoofed = host.request(
        &daemon,
        Request::Restore(RestoreRequest {
            ipv4_address: [192, 168, 64, 200].into(),
            ..restorations[0].clone()
        }),
    );
    let Err(ClientError::Refused(failure)) = spoofed else { panic!("{spoofed:?}") };
    assert_eq!(failure.code, FailureCode::NotFound);

    host.request(&daemon, Request::Shutdown).unwrap();
    assert!(!daemon.root.join("run/network.ns").exists());
    assert!(!host.devices().contains("bhu"), "{}", host.devices());
}

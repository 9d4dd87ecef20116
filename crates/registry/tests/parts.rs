//! Blobs over several connections, where one is slow.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bulkhead_oci::{Descriptor, Digest, MediaType, Reference};
use bulkhead_registry::{Client, ClientOptions, Patience, RegistryError, Splitting, Transport};
use support::{Request, Server};

fn content() -> Arc<Vec<u8>> {
    Arc::new((0..250_000_u32).flat_map(u32::to_le_bytes).collect())
}

async fn fetch(server: &Server, bytes: &[u8], splitting: Splitting) -> Result<Vec<u8>, RegistryError> {
    let patience =
        Patience { backoff: Duration::from_millis(5), attempts: 3, splitting, ..Patience::default() };
    let client = Client::new(&Transport::new(patience), &server.address, ClientOptions::default()).unwrap();
    let reference: Reference = format!("{}/image:tag", server.address).parse().unwrap();
    let descriptor = Descriptor::new(MediaType::parse("x"), Digest::of(bytes), bytes.len() as u64);
    let mut stream = client.blob(&reference, &descriptor).await?;
    let mut received = Vec::new();
    while let Some(chunk) = stream.next_chunk().await? {
        received.extend_from_slice(&chunk);
    }
    Ok(received)
}

fn eager() -> Splitting {
    Splitting {
        watch: Duration::from_millis(50),
        min_left_bytes: 200_000,
        part_bytes: 60_000,
        parts: 3,
        ..Splitting::default()
    }
}

/// First and last byte of the range that is asked for.
fn range(request: &Request) -> Option<(usize, Option<usize>)> {
    let (first, last) = request.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
    Some((first.parse().unwrap(), last.parse().ok()))
}

/// Sends what is asked for, some 2 MB/s a connection; of parts only a share.
fn send(request: &Request, stream: &mut TcpStream, bytes: &[u8], share: usize) {
    let (first, last) = range(request).unwrap_or((0, None));
    let end = last.map_or(bytes.len(), |last| last + 1);
    let status = match request.header("range") {
        Some(_) => format!("206 Partial Content\r\nContent-Range: bytes {first}-{}/{}", end - 1, bytes.len()),
        None => "200 OK".to_owned(),
    };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", end - first);
    drop(stream.write_all(head.as_bytes()));
    let sent = if last.is_some() { (end - first) / share } else { end - first };
    for piece in bytes[first..first + sent].chunks(20_000) {
        if stream.write_all(piece).is_err() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn parts(server: &Server) -> Vec<(usize, Option<usize>)> {
    server.requests().iter().filter_map(range).filter(|(_, last)| last.is_some()).collect()
}

#[tokio::test]
async fn a_slow_blob_comes_over_several_connections() {
    let bytes = content();
    let (served, open, most) = (Arc::clone(&bytes), AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let peak = Arc::clone(&most);
    let server = Server::start(move |request, stream| {
        peak.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        send(request, stream, &served, 1);
        open.fetch_sub(1, Ordering::SeqCst);
    });
    assert!(fetch(&server, &bytes, eager()).await.unwrap() == *bytes);
    let parts = parts(&server);
    // The first connection, then parts that follow each other without a gap up to the end.
    assert!(parts.len() > 5, "{parts:?}");
    let mut sorted = parts.clone();
    sorted.sort_unstable();
    assert!(sorted.windows(2).all(|pair| pair[0].1.unwrap() + 1 == pair[1].0), "{parts:?}");
    assert_eq!(sorted.last().unwrap().1, Some(bytes.len() - 1));
    // A thread of this server ends a little later than what it sent arrives.
    assert!((3..=8).contains(&most.load(Ordering::SeqCst)), "{most:?}");
}

#[tokio::test]
async fn a_fast_blob_or_a_small_one_comes_over_one_connection() {
    let bytes = content();
    let served = Arc::clone(&bytes);
    let fast = Server::start(move |_, stream| support::answer(stream, "200 OK", &[], &served));
    // However busy this host is, it comes before anybody looks.
    let patient = Splitting { watch: Duration::from_secs(60), ..eager() };
    assert!(fetch(&fast, &bytes, patient).await.unwrap() == *bytes);
    assert_eq!(fast.requests().len(), 1);
    let served = Arc::clone(&bytes);
    let slow = Server::start(move |request, stream| send(request, stream, &served, 1));
    let never = Splitting { min_left_bytes: 1 << 20, ..eager() };
    assert!(fetch(&slow, &bytes, never).await.unwrap() == *bytes);
    assert_eq!(slow.requests().len(), 1);
}

#[tokio::test]
async fn a_registry_without_ranges_is_asked_for_them_once() {
    let bytes = content();
    let served = Arc::clone(&bytes);
    let server = Server::start(move |request, stream| {
        let mut whole = request.clone();
        whole.headers.clear();
        send(&whole, stream, &served, 1);
    });
    assert!(fetch(&server, &bytes, eager()).await.unwrap() == *bytes);
    assert!(parts(&server).len() <= eager().parts, "{:?}", parts(&server));
}

#[tokio::test]
async fn parts_that_are_cut_are_fetched_over_one_connection() {
    let bytes = content();
    let served = Arc::clone(&bytes);
    let server = Server::start(move |request, stream| send(request, stream, &served, 2));
    assert!(fetch(&server, &bytes, eager()).await.unwrap() == *bytes);
    assert!(!parts(&server).is_empty());
    assert!(server.requests().iter().filter_map(range).any(|(_, last)| last.is_none()));
    assert!(server.requests().len() < 20, "{}", server.requests().len());
}

#[tokio::test]
async fn parts_are_checked_with_the_rest() {
    let bytes = content();
    let served = Arc::clone(&bytes);
    let server = Server::start(move |request, stream| {
        let mut lie = (*served).clone();
        if range(request).is_some() {
            lie[900_000] ^= 1;
        }
        send(request, stream, &lie, 1);
    });
    let error = fetch(&server, &bytes, eager()).await.unwrap_err();
    assert!(matches!(error, RegistryError::DigestMismatch { .. }), "{error}");
}

//! Pushing to registries that behave, and to others.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::fs::File;
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bulkhead_oci::{Descriptor, Digest, MediaType, Reference};
use bulkhead_registry::{BlobPush, Client, ClientOptions, Credentials, Patience, RegistryError, Transport};
use support::{Request, Server, answer};

fn client(server: &Server) -> (Client, Reference) {
    let patience = Patience {
        answer: Duration::from_millis(500),
        idle: Duration::from_millis(300),
        commit: Duration::from_millis(500),
        backoff: Duration::from_millis(5),
        max_backoff: Duration::from_millis(50),
        attempts: 3,
        ..Patience::default()
    };
    let options =
        ClientOptions { credentials: Some(Credentials::new("user", "secret")), ..ClientOptions::default() };
    let client = Client::new(&Transport::new(patience), &server.address, options).unwrap();
    (client, format!("{}/repo/image:tag", server.address).parse().unwrap())
}

fn content() -> Vec<u8> {
    (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect()
}

fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn descriptor(bytes: &[u8]) -> Descriptor {
    Descriptor::new(MediaType::parse("x"), Digest::of(bytes), bytes.len() as u64)
}

async fn push(server: &Server, bytes: &[u8], mount_from: Option<&str>) -> Result<BlobPush, RegistryError> {
    let (client, reference) = client(server);
    client.push_blob(&reference, &descriptor(bytes), file_of(bytes), mount_from, |_| {}).await
}

/// All but those that give up an upload, which nobody waits for.
fn methods(server: &Server) -> String {
    let requests = server.requests().into_iter().map(|request| request.method);
    requests.filter(|method| method != "DELETE").collect::<Vec<_>>().join(" ")
}

/// Waits until an upload was given up, and says which.
async fn cancelled(server: &Server) -> String {
    for _ in 0..1000 {
        if let Some(request) = server.requests().into_iter().find(|request| request.method == "DELETE") {
            return request.path;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("no upload was given up: {:?}", server.requests());
}

/// Answers up to the upload itself: nothing is there, and uploads go to `/v2/upload/<count>`.
fn begin(request: &Request, stream: &mut TcpStream, count: &AtomicUsize) -> bool {
    match request.method.as_str() {
        "HEAD" => answer(stream, "404 Not Found", &[], b""),
        "POST" => {
            let number = count.fetch_add(1, Ordering::Relaxed);
            answer(stream, "202 Accepted", &[&format!("Location: /v2/upload/{number}?state=a%2Fb")], b"");
        }
        _ => return false,
    }
    true
}

#[tokio::test]
async fn a_blob_is_sent_once_and_whole() {
    let (received, count) = (Arc::new(Mutex::new(Vec::new())), AtomicUsize::new(0));
    let into = Arc::clone(&received);
    let server = Server::start(move |request, stream| {
        if !begin(request, stream, &count) {
            *into.lock().unwrap() = request.body(u64::MAX);
            answer(stream, "201 Created", &[], b"");
        }
    });
    let (client, reference) = client(&server);
    let bytes = content();
    let told = AtomicU64::new(0);
    let progress = |sent| told.store(sent, Ordering::Relaxed);
    let pushed = client.push_blob(&reference, &descriptor(&bytes), file_of(&bytes), None, progress).await;
    assert_eq!(pushed.unwrap(), BlobPush::Uploaded);
    assert!(*received.lock().unwrap() == bytes);
    assert_eq!(told.load(Ordering::Relaxed), bytes.len() as u64);
    assert_eq!(methods(&server), "HEAD POST PUT");
    let put = &server.requests()[2];
    let digest = Digest::of(&bytes).to_string().replace(':', "%3A");
    assert_eq!(put.path, format!("/v2/upload/0?state=a%2Fb&digest={digest}"));
}

#[tokio::test]
async fn what_is_there_or_mounted_is_not_sent() {
    let there = Server::start(|_, stream| answer(stream, "200 OK", &[], b""));
    assert_eq!(push(&there, b"blob", Some("other")).await.unwrap(), BlobPush::Existed);
    assert_eq!(methods(&there), "HEAD");
    let mounting = Server::start(|request, stream| match request.method.as_str() {
        "HEAD" => answer(stream, "404 Not Found", &[], b""),
        _ => answer(stream, "201 Created", &[], b""),
    });
    assert_eq!(push(&mounting, b"blob", Some("other/one")).await.unwrap(), BlobPush::Mounted);
    assert!(mounting.requests()[1].path.ends_with("&from=other%2Fone"), "{:?}", mounting.requests()[1].path);
    // A registry that does not want to mount still gets the blob.
    let count = AtomicUsize::new(0);
    let refusing = Server::start(move |request, stream| {
        if request.path.contains("mount=") {
            answer(stream, "403 Forbidden", &[], b"");
        } else if !begin(request, stream, &count) {
            request.body(u64::MAX);
            answer(stream, "201 Created", &[], b"");
        }
    });
    assert_eq!(push(&refusing, b"blob", Some("other")).await.unwrap(), BlobPush::Uploaded);
}

#[tokio::test]
async fn an_interrupted_upload_goes_on_where_it_stopped() {
    let (received, count) = (Arc::new(Mutex::new(Vec::new())), AtomicUsize::new(0));
    let into = Arc::clone(&received);
    let server = Server::start(move |request, stream| {
        if begin(request, stream, &count) {
            return;
        }
        let mut received = into.lock().unwrap();
        let reached = format!("Range: 0-{}", received.len().saturating_sub(1));
        match request.method.as_str() {
            // The connection dies in the middle, again and again.
            "PUT" if received.is_empty() => received.extend(request.body(1_000_000)),
            "GET" => answer(stream, "204 No Content", &["Location: /v2/upload/next", &reached], b""),
            "PATCH" => {
                assert!(
                    request.header("content-range").unwrap().starts_with(&format!("{}-", received.len()))
                );
                let body = request.body(u64::MAX);
                received.extend(&body[..body.len().min(1_500_000)]);
                let reached = format!("Range: 0-{}", received.len() - 1);
                answer(stream, "202 Accepted", &["Location: /v2/upload/next", &reached], b"");
            }
            _ => {
                assert_eq!(request.header("content-length"), Some("0"));
                answer(stream, "201 Created", &[], b"");
            }
        }
    });
    let bytes = content();
    assert_eq!(push(&server, &bytes, None).await.unwrap(), BlobPush::Uploaded);
    assert!(*received.lock().unwrap() == bytes);
    assert_eq!(methods(&server), "HEAD POST PUT GET PATCH PATCH PUT");
}

#[tokio::test]
async fn an_upload_that_cannot_go_on_begins_anew_and_is_given_up_at_last() {
    let (count, puts) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let forgetful = Server::start(move |request, stream| {
        if begin(request, stream, &count) {
            return;
        }
        match request.method.as_str() {
            "PUT" if puts.fetch_add(1, Ordering::Relaxed) == 0 => drop(request.body(1000)),
            "PUT" => {
                request.body(u64::MAX);
                answer(stream, "201 Created", &[], b"");
            }
            _ => answer(stream, "404 Not Found", &[], b""),
        }
    });
    assert_eq!(push(&forgetful, &content(), None).await.unwrap(), BlobPush::Uploaded);
    assert_eq!(methods(&forgetful), "HEAD POST PUT GET POST PUT");

    let count = AtomicUsize::new(0);
    let broken = Server::start(move |request, stream| {
        if !begin(request, stream, &count) {
            request.body(u64::MAX);
            answer(stream, "500 Internal Server Error", &[], b"");
        }
    });
    let error = push(&broken, &content(), None).await.unwrap_err();
    assert!(matches!(error, RegistryError::Status { status: 500, .. }), "{error}");

    assert_eq!(cancelled(&broken).await, "/v2/upload/0?state=a%2Fb");
    // What the registry has forgotten, or completed, is not given up.
    assert!(forgetful.requests().iter().all(|request| request.method != "DELETE"));

    // One that always takes a byte more is not served forever either.
    let count = AtomicUsize::new(0);
    let reached = AtomicUsize::new(0);
    let slow = Server::start(move |request, stream| {
        if begin(request, stream, &count) {
            return;
        }
        let next = format!("Range: 0-{}", reached.fetch_add(1, Ordering::Relaxed) + 1);
        match request.method.as_str() {
            "GET" => answer(stream, "204 No Content", &[&next], b""),
            _ => drop(request.body(1000)),
        }
    });
    push(&slow, &content(), None).await.unwrap_err();
    assert!(slow.requests().len() < 100, "{}", slow.requests().len());
}

#[tokio::test]
async fn an_upload_that_advances_survives_many_interruptions() {
    // Many more than the attempts without progress that are allowed.
    const PIECE_BYTES: u64 = 200_000;
    let (received, count) = (Arc::new(Mutex::new(Vec::<u8>::new())), AtomicUsize::new(0));
    let into = Arc::clone(&received);
    let server = Server::start(move |request, stream| {
        if begin(request, stream, &count) {
            return;
        }
        let mut received = into.lock().unwrap();
        match request.method.as_str() {
            "GET" => {
                let reached = format!("Range: 0-{}", received.len() - 1);
                answer(stream, "204 No Content", &[&reached], b"");
            }
            "PUT" if request.header("content-length") == Some("0") => answer(stream, "201 Created", &[], b""),
            _ => {
                let body = request.body(PIECE_BYTES);
                received.extend(&body);
                if body.len() as u64 != PIECE_BYTES || received.len() == 4_000_000 {
                    let reached = format!("Range: 0-{}", received.len() - 1);
                    answer(stream, "202 Accepted", &["Location: /v2/upload/next", &reached], b"");
                }
            }
        }
    });
    let bytes = content();
    assert_eq!(push(&server, &bytes, None).await.unwrap(), BlobPush::Uploaded);
    assert!(*received.lock().unwrap() == bytes);
    assert_eq!(methods(&server).matches("GET").count(), 19);
}

#[tokio::test]
async fn a_push_that_is_given_up_leaves_no_upload() {
    let count = AtomicUsize::new(0);
    let server = Server::start(move |request, stream| {
        if request.method == "DELETE" {
            answer(stream, "204 No Content", &[], b"");
        } else if !begin(request, stream, &count) {
            request.body(1000);
            std::thread::sleep(Duration::from_secs(20));
        }
    });
    let bytes = content();
    let pushing = push(&server, &bytes, None);
    let waited = tokio::time::timeout(Duration::from_millis(200), pushing).await;
    assert!(waited.is_err(), "{waited:?}");
    assert_eq!(cancelled(&server).await, "/v2/upload/0?state=a%2Fb");
}

#[tokio::test]
async fn a_token_service_that_knows_one_repository_only_gets_the_blob_sent() {
    let count = AtomicUsize::new(0);
    let server = Server::start(move |request, stream| {
        let host = request.header("host").unwrap().to_owned();
        if request.path.starts_with("/token") {
            match request.path.matches("scope=").count() {
                1 => answer(stream, "200 OK", &[], br#"{"token":"abc"}"#),
                _ => answer(stream, "403 Forbidden", &[], b""),
            }
        } else if request.header("authorization") != Some("Bearer abc") || request.path.contains("mount=") {
            let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{host}/token\"");
            answer(stream, "401 Unauthorized", &[&challenge], b"");
        } else if !begin(request, stream, &count) {
            request.body(u64::MAX);
            answer(stream, "201 Created", &[], b"");
        }
    });
    assert_eq!(push(&server, b"blob", Some("other")).await.unwrap(), BlobPush::Uploaded);
    let asked = |text: &str| server.requests().iter().filter(|request| request.path.contains(text)).count();
    assert_eq!((asked("mount="), asked("scope=")), (1, 2));
}

#[tokio::test]
async fn a_proxy_that_takes_little_at_once_gets_chunks() {
    let count = AtomicUsize::new(0);
    let server = Server::start(move |request, stream| {
        if begin(request, stream, &count) {
            return;
        }
        let body = request.body(u64::MAX);
        match request.method.as_str() {
            "PATCH" => answer(stream, "202 Accepted", &["Location: /v2/upload/next"], b""),
            _ if body.is_empty() => answer(stream, "201 Created", &[], b""),
            _ => answer(stream, "413 Content Too Large", &[], b""),
        }
    });
    assert_eq!(push(&server, &content(), None).await.unwrap(), BlobPush::Uploaded);
    assert_eq!(methods(&server), "HEAD POST PUT POST PATCH PUT");
}

#[tokio::test]
async fn chunks_are_as_long_as_the_registry_asks_for() {
    let lengths = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&lengths);
    let server = Server::start(move |request, stream| match request.method.as_str() {
        "HEAD" => answer(stream, "404 Not Found", &[], b""),
        "POST" => {
            let minimum = format!("OCI-Chunk-Min-Length: {}", 65 << 20);
            answer(stream, "202 Accepted", &["Location: /v2/upload/0", &minimum], b"");
        }
        "PATCH" => {
            into.lock().unwrap().push(request.body(u64::MAX).len());
            answer(stream, "202 Accepted", &["Location: /v2/upload/0"], b"");
        }
        _ if request.body(u64::MAX).is_empty() => answer(stream, "201 Created", &[], b""),
        _ => answer(stream, "413 Content Too Large", &[], b""),
    });
    let client = Client::new(&Transport::new(Patience::default()), &server.address, ClientOptions::default());
    let reference = format!("{}/repo/image:tag", server.address).parse().unwrap();
    let bytes = vec![0; 66 << 20];
    let pushed =
        client.unwrap().push_blob(&reference, &descriptor(&bytes), file_of(&bytes), None, |_| {}).await;
    assert_eq!(pushed.unwrap(), BlobPush::Uploaded);
    assert_eq!(*lengths.lock().unwrap(), [65 << 20, 1 << 20]);
}

#[tokio::test]
async fn credentials_and_content_stay_with_the_registry() {
    let elsewhere = Server::start(|request, stream| {
        request.body(u64::MAX);
        answer(stream, "201 Created", &[], b"");
    });
    let location = format!("Location: http://{}/put", elsewhere.address);
    let registry = Server::start(move |request, stream| {
        match (request.method.as_str(), request.header("authorization")) {
            (_, None) => answer(stream, "401 Unauthorized", &["WWW-Authenticate: Basic realm=\"x\""], b""),
            ("HEAD", _) => answer(stream, "404 Not Found", &[], b""),
            _ => answer(stream, "202 Accepted", &[&location], b""),
        }
    });
    // Storage at another host is common; it gets the blob and a signature in its URL, not the password.
    assert_eq!(push(&registry, b"blob", None).await.unwrap(), BlobPush::Uploaded);
    assert!(elsewhere.requests().iter().all(|request| request.header("authorization").is_none()));
    assert_eq!(elsewhere.requests().len(), 1);
    for target in ["Location: file:///etc/passwd", "Location: http://169.254.169.254/", "X-None: 1"] {
        let server = Server::start(move |request, stream| match request.method.as_str() {
            "HEAD" => answer(stream, "404 Not Found", &[], b""),
            _ => answer(stream, "202 Accepted", &[target], b""),
        });
        let error = push(&server, b"blob", None).await.unwrap_err();
        assert!(matches!(error, RegistryError::Redirect { .. }), "{target}: {error}");
    }
    let redirecting = Server::start(|request, stream| match request.method.as_str() {
        "HEAD" => answer(stream, "404 Not Found", &[], b""),
        _ => answer(stream, "302 Found", &["Location: /elsewhere"], b""),
    });
    assert!(matches!(push(&redirecting, b"blob", None).await, Err(RegistryError::Redirect { .. })));
}

#[tokio::test]
async fn a_damaged_file_is_not_sent_to_its_end() {
    let count = AtomicUsize::new(0);
    let server = Server::start(move |request, stream| {
        if !begin(request, stream, &count) {
            let announced: usize = request.header("content-length").unwrap().parse().unwrap();
            assert!(request.body(u64::MAX).len() < announced);
        }
    });
    let mut bytes = content();
    let descriptor = descriptor(&bytes);
    bytes[7] ^= 1;
    let (client, reference) = client(&server);
    for file in [file_of(&bytes), file_of(b"short")] {
        let error = client.push_blob(&reference, &descriptor, file, None, |_| {}).await.unwrap_err();
        assert!(matches!(error, RegistryError::Source { .. }), "{error}");
    }
    // Of the second not even its head need have come.
    assert!(methods(&server).starts_with("HEAD POST PUT HEAD POST"), "{}", methods(&server));
}

#[tokio::test]
async fn a_registry_that_stops_reading_is_given_up() {
    let count = AtomicUsize::new(0);
    let server = Server::start(move |request, stream| {
        if !begin(request, stream, &count) {
            std::thread::sleep(Duration::from_secs(20));
        }
    });
    let bytes = vec![0; 64 << 20];
    let error = push(&server, &bytes, None).await.unwrap_err();
    assert!(matches!(error, RegistryError::Stalled { .. }), "{error}");
}

#[tokio::test]
async fn manifests_are_named_by_tag_or_digest() {
    let server = Server::start(|request, stream| {
        request.body(u64::MAX);
        answer(stream, "201 Created", &[], b"");
    });
    let (first, reference) = client(&server);
    let index = MediaType::OciIndex;
    first.push_manifest(&reference, &index, b"{}".to_vec(), false).await.unwrap();
    first.push_manifest(&reference, &index, b"{}".to_vec(), true).await.unwrap();
    let requests = server.requests();
    assert_eq!(requests[0].path, "/v2/repo/image/manifests/tag");
    assert_eq!(requests[1].path, format!("/v2/repo/image/manifests/{}", Digest::of(b"{}")));
    assert_eq!(requests[0].header("content-type"), Some(index.as_str()));
    // A registry that says it stored something else.
    let other = format!("Docker-Content-Digest: {}", Digest::of(b"other"));
    let lying = Server::start(move |request, stream| {
        request.body(u64::MAX);
        answer(stream, "201 Created", &[&other], b"");
    });
    let (second, reference) = client(&lying);
    let error = second.push_manifest(&reference, &index, b"{}".to_vec(), false).await.unwrap_err();
    assert!(matches!(error, RegistryError::DigestMismatch { .. }), "{error}");
    // The scope says what is wanted.
    let asking = Server::start(|request, stream| {
        let host = request.header("host").unwrap().to_owned();
        request.body(u64::MAX);
        match request.path.starts_with("/token") {
            true => answer(stream, "200 OK", &[], br#"{"token":"abc"}"#),
            false if request.header("authorization").is_some() => answer(stream, "201 Created", &[], b""),
            false => {
                let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{host}/token\"");
                answer(stream, "401 Unauthorized", &[&challenge], b"");
            }
        }
    });
    let (third, reference) = client(&asking);
    third.push_manifest(&reference, &index, b"{}".to_vec(), false).await.unwrap();
    assert!(asking.requests()[1].path.ends_with("scope=repository%3Arepo%2Fimage%3Apull%2Cpush"));
}

//! The client against registries that break every rule.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bulkhead_oci::{Descriptor, Digest, MediaType, Reference};
use bulkhead_registry::{Client, ClientOptions, Credentials, Patience, RegistryError, Transport};
use support::{Server, answer, answer_sized, answer_unsized};

fn patience() -> Patience {
    Patience {
        answer: Duration::from_millis(500),
        idle: Duration::from_millis(300),
        window: Duration::from_secs(1),
        backoff: Duration::from_millis(5),
        max_backoff: Duration::from_millis(50),
        attempts: 3,
        ..Patience::default()
    }
}

fn client(server: &Server, credentials: bool) -> (Client, Reference) {
    let credentials = credentials.then(|| Credentials::new("user", "secret"));
    let options = ClientOptions { credentials, ..ClientOptions::default() };
    let client = Client::new(&Transport::new(patience()), &server.address, options).unwrap();
    (client, format!("{}/repo/image:tag", server.address).parse().unwrap())
}

fn descriptor(content: &[u8]) -> Descriptor {
    Descriptor::new(MediaType::parse("x"), Digest::of(content), content.len() as u64)
}

async fn fetch(server: &Server, descriptor: &Descriptor) -> Result<Vec<u8>, RegistryError> {
    let (client, reference) = client(server, false);
    let mut blob = client.blob(&reference, descriptor).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = blob.next_chunk().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn has_secret(server: &Server) -> bool {
    // "user:secret" in base 64
    server
        .requests()
        .iter()
        .any(|request| request.header("authorization").is_some_and(|text| text.contains("dXNlcjpzZWNyZXQ=")))
}

#[tokio::test]
async fn wrong_content_and_sizes_are_refused() {
    let content = vec![5; 100_000];
    let wrong = vec![6; 100_000];
    let server = Server::start({
        let wrong = wrong.clone();
        move |_, stream| answer(stream, "200 OK", &[], &wrong)
    });
    let error = fetch(&server, &descriptor(&content)).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains(&Digest::of(&content).to_string()) && text.contains(&Digest::of(&wrong).to_string()),
        "{text}"
    );
    // Too long and too short, announced and not.
    for length in [99_999, 100_001] {
        let body = content.iter().copied().cycle().take(length).collect::<Vec<u8>>();
        let server = Server::start({
            let body = body.clone();
            move |_, stream| answer(stream, "200 OK", &[], &body)
        });
        let error = fetch(&server, &descriptor(&content)).await.unwrap_err();
        assert!(matches!(error, RegistryError::SizeMismatch { .. }), "{error}");
        let server = Server::start(move |_, stream| answer_unsized(stream, &body));
        let error = fetch(&server, &descriptor(&content)).await.unwrap_err();
        let expected = matches!(error, RegistryError::SizeMismatch { .. } | RegistryError::Truncated { .. });
        assert!(expected, "{error}");
    }
}

#[tokio::test]
async fn an_endless_body_stops_at_the_first_excess_byte() {
    let server = Server::start(|_, stream| {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"));
        while stream.write_all(b"1000\r\n").and_then(|()| stream.write_all(&[0; 4098])).is_ok() {}
    });
    let error = fetch(&server, &descriptor(&[0; 10_000])).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::SizeMismatch { .. } | RegistryError::Unreachable { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn interrupted_blobs_are_resumed() {
    let content: Vec<u8> = (0..200_000_u32).map(|index| index.to_le_bytes()[1]).collect();
    for honours_ranges in [true, false] {
        let count = AtomicUsize::new(0);
        let body = content.clone();
        let server = Server::start(move |request, stream| {
            // Each attempt ends after some more bytes; the first are sent whole only at last.
            let attempt = count.fetch_add(1, Ordering::Relaxed);
            let range = request.header("range").map(|text| text[6..text.len() - 1].parse::<usize>().unwrap());
            let start = range.filter(|_| honours_ranges).unwrap_or(0);
            let end = (60_000 * (attempt + 1)).min(body.len());
            let content_range = format!("Content-Range: bytes {start}-{}/{}", body.len() - 1, body.len());
            if start > 0 {
                answer_sized(
                    stream,
                    "206 Partial Content",
                    &[&content_range],
                    &body[start..end],
                    body.len() - start,
                );
            } else {
                answer_sized(stream, "200 OK", &[], &body[..end], body.len());
            }
        });
        assert_eq!(fetch(&server, &descriptor(&content)).await.unwrap(), content);
        assert!(server.requests()[1].header("range").is_some());
    }
    let server = Server::start(|_, stream| answer_sized(stream, "200 OK", &[], &[1; 10], 200_000));
    let error = fetch(&server, &descriptor(&content)).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn slow_registries_are_given_up() {
    let silent = Server::start(|_, _| std::thread::sleep(Duration::from_secs(20)));
    let stalling = Server::start(|_, stream| {
        answer_sized(stream, "200 OK", &[], &[1; 1000], 10_000);
        std::thread::sleep(Duration::from_secs(20));
    });
    let dripping = Server::start(|_, stream| {
        answer_sized(stream, "200 OK", &[], b"", 10_000);
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    for server in [silent, stalling, dripping] {
        let started = Instant::now();
        let error = fetch(&server, &descriptor(&[0; 10_000])).await.unwrap_err();
        assert!(matches!(error, RegistryError::Stalled { .. }), "{error}");
        assert!(started.elapsed() < Duration::from_secs(40), "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn credentials_stay_with_the_registry() {
    let content = b"blob".to_vec();
    let other = Server::start({
        let content = content.clone();
        move |_, stream| answer(stream, "200 OK", &[], &content)
    });
    let location = format!("Location: http://{}/elsewhere", other.address);
    let registry = Server::start(move |request, stream| match request.header("authorization") {
        None => answer(stream, "401 Unauthorized", &["WWW-Authenticate: Basic realm=\"x\""], b""),
        Some(_) => answer(stream, "307 Temporary Redirect", &[&location], b""),
    });
    let (client, reference) = client(&registry, true);
    let mut blob = client.blob(&reference, &descriptor(&content)).await.unwrap();
    assert_eq!(blob.next_chunk().await.unwrap().unwrap(), content);
    assert!(blob.next_chunk().await.unwrap().is_none());
    assert!(has_secret(&registry));
    assert!(other.requests().iter().all(|request| request.header("authorization").is_none()));
}

#[tokio::test]
async fn a_foreign_host_that_asks_for_credentials_gets_none() {
    let greedy = Server::start(|_, stream| {
        answer(stream, "401 Unauthorized", &["WWW-Authenticate: Basic realm=\"x\""], b"");
    });
    let location = format!("Location: http://{}/", greedy.address);
    let registry = Server::start(move |_, stream| answer(stream, "302 Found", &[&location], b""));
    let (first, reference) = client(&registry, true);
    let error = first.manifest(&reference).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unauthorized { .. }), "{error}");
    assert!(!has_secret(&greedy) && !has_secret(&registry));

    // The same with a token service elsewhere: asked without credentials, and the error says why.
    let service = Server::start(|_, stream| answer(stream, "401 Unauthorized", &[], b""));
    let challenge =
        format!("WWW-Authenticate: Bearer realm=\"http://{}/token\",service=\"s\"", service.address);
    let registry = Server::start(move |_, stream| answer(stream, "401 Unauthorized", &[&challenge], b""));
    let (second, reference) = client(&registry, true);
    let error = second.manifest(&reference).await.unwrap_err().to_string();
    assert!(error.contains(&service.address), "{error}");
    assert_eq!(service.requests().len(), 1);
    assert!(!has_secret(&service));
}

#[tokio::test]
async fn tokens_are_fetched_used_and_bounded() {
    let server = Server::start(|request, stream| {
        let host = request.header("host").unwrap().to_owned();
        let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{host}/token\",service=\"s\"");
        match (request.path.split('?').next().unwrap(), request.header("authorization")) {
            ("/token", Some("Basic dXNlcjpzZWNyZXQ=")) => {
                answer(stream, "200 OK", &[], br#"{"token":"abc"}"#)
            }
            ("/token", _) => answer(stream, "401 Unauthorized", &[], b""),
            (_, Some("Bearer abc")) => answer(stream, "200 OK", &["Content-Type: application/json"], b"{}"),
            _ => answer(stream, "401 Unauthorized", &[&challenge], b""),
        }
    });
    let (good, reference) = client(&server, true);
    assert_eq!(good.manifest(&reference).await.unwrap().bytes, b"{}");
    good.manifest(&reference).await.unwrap();
    let paths: Vec<String> = server.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths.len(), 4, "{paths:?}");
    assert_eq!(paths[1], "/token?service=s&scope=repository%3Arepo%2Fimage%3Apull");
    good.check_access().await.unwrap();
    let (without, reference) = client(&server, false);
    let error = without.manifest(&reference).await.unwrap_err().to_string();
    assert!(error.contains("registry login"), "{error}");

    // A token that never suffices is asked for once; a bomb in its place is not read.
    let refusing = Server::start(|request, stream| {
        let host = request.header("host").unwrap().to_owned();
        let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{host}/token\"");
        match request.path.as_str() {
            path if path.starts_with("/token") => answer(stream, "200 OK", &[], br#"{"token":"x"}"#),
            _ => answer(stream, "401 Unauthorized", &[&challenge], b""),
        }
    });
    let (refused, reference) = client(&refusing, true);
    assert!(matches!(refused.manifest(&reference).await, Err(RegistryError::Unauthorized { .. })));
    assert_eq!(refusing.requests().len(), 3);
    let bomb = Server::start(|request, stream| {
        let host = request.header("host").unwrap().to_owned();
        let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{host}/token\"");
        match request.path.as_str() {
            path if path.starts_with("/token") => answer(stream, "200 OK", &[], &vec![b' '; 3 << 20]),
            _ => answer(stream, "401 Unauthorized", &[&challenge], b""),
        }
    });
    let (bombed, reference) = client(&bomb, true);
    assert!(matches!(bombed.manifest(&reference).await, Err(RegistryError::TooLarge { .. })));
}

#[tokio::test]
async fn redirections_are_bounded() {
    let endless = Server::start(|request, stream| {
        let number: usize = request.path.rsplit('/').next().unwrap().parse().unwrap_or(0);
        answer(stream, "302 Found", &[&format!("Location: /v2/{}", number + 1)], b"");
    });
    let (looping, reference) = client(&endless, false);
    assert!(matches!(looping.manifest(&reference).await, Err(RegistryError::Redirect { .. })));
    assert_eq!(endless.requests().len(), 11);
    for target in ["file:///etc/passwd", "http://169.254.169.254/latest", "http://[fe80::1]/", "gopher://x"] {
        let server = Server::start(move |_, stream| {
            answer(stream, "302 Found", &[&format!("Location: {target}")], b"");
        });
        let (client, reference) = client(&server, false);
        let error = client.manifest(&reference).await.unwrap_err();
        assert!(matches!(error, RegistryError::Redirect { .. }), "{target}: {error}");
    }
}

#[tokio::test]
async fn refusals_are_told_apart_and_bounded() {
    let body = "{\"errors\":[{\"code\":\"X\",\"message\":\"no \\u001b[31m such\\nthing\"}]}";
    let missing = Server::start(move |_, stream| answer(stream, "404 Not Found", &[], body.as_bytes()));
    let (none, reference) = client(&missing, false);
    let error = none.manifest(&reference).await.unwrap_err();
    assert!(matches!(error, RegistryError::NotFound { .. }));
    let text = error.to_string();
    assert!(text.contains("repo/image:tag") && text.contains("no  [31m such thing"), "{text:?}");
    assert!(!text.contains('\u{1b}') && !text.contains('\n'), "{text:?}");

    let busy = AtomicUsize::new(0);
    let recovering = Server::start(move |_, stream| match busy.fetch_add(1, Ordering::Relaxed) {
        0 => answer(stream, "429 Too Many Requests", &["Retry-After: 99999999"], b""),
        1 => answer(stream, "503 Service Unavailable", &["Retry-After: soon"], b""),
        _ => answer(stream, "200 OK", &[], b"{}"),
    });
    let (patient, reference) = client(&recovering, false);
    let started = Instant::now();
    patient.manifest(&reference).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(60));

    let large = Server::start(|_, stream| answer(stream, "200 OK", &[], &vec![b' '; 5 << 20]));
    let (client_of_large, reference) = client(&large, false);
    assert!(matches!(client_of_large.manifest(&reference).await, Err(RegistryError::TooLarge { .. })));
    let headers = Server::start(|_, stream| {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\n"));
        while stream
            .write_all(b"X-Filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n")
            .is_ok()
        {}
    });
    let (client_of_headers, reference) = client(&headers, false);
    assert!(client_of_headers.manifest(&reference).await.is_err());

    // A tag that moved away under a digest.
    let moved = Server::start(|_, stream| answer(stream, "200 OK", &[], b"{}"));
    let (client_of_moved, reference) = client(&moved, false);
    let pinned = reference.with_digest(Digest::of(b"else"));
    assert!(matches!(client_of_moved.manifest(&pinned).await, Err(RegistryError::DigestMismatch { .. })));

    // Nobody listens.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let gone = Client::new(&Transport::new(patience()), &address, ClientOptions::default()).unwrap();
    let error = gone.manifest(&format!("{address}/a").parse().unwrap()).await.unwrap_err();
    assert!(error.to_string().contains(&format!("cannot reach {address}")), "{error}");
}

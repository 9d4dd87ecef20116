//! The client against a server that answers from a script.

#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::thread::JoinHandle;

use bulkhead_api::error::ErrorCode;
use bulkhead_api::event::StreamEvent;
use bulkhead_api::request::{CreateRequest, LogsQuery, StartRequest};
use bulkhead_client::{Client, ClientError, LogSource, ProtocolError};

/// Answers one connection with these pieces; returns what it was asked.
fn serve(name: &str, pieces: Vec<Vec<u8>>) -> (Client, JoinHandle<String>) {
    let path: PathBuf = std::env::temp_dir().join(format!("bh-client-{}-{name}", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    let client = Client::new(&path);
    let server = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        std::fs::remove_file(&path).unwrap();
        let mut request = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let count = socket.read(&mut buffer).unwrap();
            request.extend(&buffer[..count]);
            let text = String::from_utf8_lossy(&request).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok())
                    .unwrap_or(0);
                if body.len() >= length {
                    break;
                }
            }
            assert_ne!(count, 0);
        }
        for piece in pieces {
            if socket.write_all(&piece).is_err() {
                break;
            }
        }
        String::from_utf8(request).unwrap()
    });
    (client, server)
}

fn stream(lines: &[&str]) -> Vec<Vec<u8>> {
    let mut pieces = vec![b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec()];
    pieces.extend(lines.iter().map(|line| line.as_bytes().to_vec()));
    pieces
}

#[tokio::test]
async fn events_come_one_by_one() {
    let (client, server) = serve(
        "events",
        stream(&[
            "{\"event\":\"created\",\"id\":\"a\"}\n{\"event\":\"star",
            "ted\",\"id\":\"a\",\"process\":0}\n",
            "{\"event\":\"exited\",\"exitCode\":3,\"message\":null}\n",
        ]),
    );
    let request = StartRequest::default();
    let mut events = client.start_container("a/b", &request, &[]).await.unwrap();
    assert_eq!(events.next().await.unwrap(), Some(StreamEvent::Created { id: "a".to_owned() }));
    assert!(matches!(events.next().await.unwrap(), Some(StreamEvent::Started { process: 0, .. })));
    assert!(matches!(events.next().await.unwrap(), Some(StreamEvent::Exited { exit_code: 3, .. })));
    assert_eq!(events.next().await.unwrap(), None);
    assert!(server.join().unwrap().starts_with("POST /v1/containers/a%2Fb/start HTTP/1.1\r\n"));
}

#[tokio::test]
async fn a_failed_event_is_an_error() {
    let (client, _server) = serve(
        "failed",
        stream(&[
            "{\"event\":\"failed\",\"code\":\"notFound\",\"message\":\"no such image\",\"exitCode\":125}\n",
        ]),
    );
    let mut events = client.create_container(&CreateRequest::default()).await.unwrap();
    let Err(ClientError::Api(error)) = events.next().await else { panic!("no error") };
    assert_eq!((error.code, error.exit_code), (ErrorCode::NotFound, Some(125)));
}

#[tokio::test]
async fn a_stream_that_ends_inside_a_line_is_an_error() {
    let (client, _server) = serve("truncated", stream(&["{\"event\":"]));
    let mut events = client.create_container(&CreateRequest::default()).await.unwrap();
    assert!(matches!(events.next().await, Err(ClientError::Protocol(ProtocolError::Truncated))));
}

#[tokio::test]
async fn an_endless_line_is_an_error() {
    let piece = "x".repeat(1 << 20);
    let (client, _server) = serve("endless", stream(&[piece.as_str(); 8]));
    let mut events = client.create_container(&CreateRequest::default()).await.unwrap();
    assert!(matches!(events.next().await, Err(ClientError::Protocol(ProtocolError::Oversize { .. }))));
}

#[tokio::test]
async fn refusals_keep_their_code() {
    let body = "{\"code\":\"exists\",\"message\":\"name in use\"}";
    let answer = format!("HTTP/1.1 409 Conflict\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let (client, _server) = serve("refusal", vec![answer.into_bytes()]);
    let Err(ClientError::Api(error)) = client.delete_container("a", true, false).await else {
        panic!("no error")
    };
    assert_eq!(error.code, ErrorCode::Exists);
}

#[tokio::test]
async fn answers_that_are_no_errors_of_ours_are_protocol_errors() {
    let (client, _server) =
        serve("status", vec![b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec()]);
    assert!(matches!(
        client.list_networks().await,
        Err(ClientError::Protocol(ProtocolError::Status { status: 404 }))
    ));
}

#[tokio::test]
async fn logs_keep_their_streams() {
    let (client, server) =
        serve("logs", stream(&["\u{1}\0\0\0\0\0\0\u{4}ou", "t\n\u{2}\0\0\0\0\0", "\0\u{4}err\n"]));
    let query = LogsQuery { follow: true, tail: Some(5), ..LogsQuery::default() };
    let mut logs = client.container_logs("a", query).await.unwrap();
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    while let Some(chunk) = logs.next().await.unwrap() {
        match chunk.source {
            LogSource::Stdout => stdout.extend(&chunk.bytes),
            LogSource::Stderr => stderr.extend(&chunk.bytes),
        }
    }
    assert_eq!((stdout.as_slice(), stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
    assert!(server.join().unwrap().starts_with("GET /v1/containers/a/logs?follow=true&boot=false&tail=5 "));
}

#[tokio::test]
async fn an_absent_socket_is_unreachable() {
    let client = Client::new("/nonexistent/api.sock");
    assert!(matches!(client.system_status().await, Err(ClientError::Unreachable { .. })));
}

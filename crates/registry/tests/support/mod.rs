//! A registry that does what each test tells it to, however wrong.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request as the server saw it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    /// While the request is answered.
    reader: Option<Arc<Mutex<BufReader<TcpStream>>>>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Reads the body, or as much of it as wanted.
    pub(crate) fn body(&self, limit_bytes: u64) -> Vec<u8> {
        let announced = self.header("content-length").map_or(0, |text| text.parse().unwrap());
        let mut body = Vec::new();
        let mut reader = self.reader.as_ref().unwrap().lock().unwrap();
        drop((&mut *reader).take(limit_bytes.min(announced)).read_to_end(&mut body));
        body
    }
}

type Handler = dyn Fn(&Request, &mut TcpStream) + Send + Sync;

/// Serves until the process ends; one thread per connection.
pub(crate) struct Server {
    pub(crate) address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub(crate) fn start(handler: impl Fn(&Request, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, handler): (_, Arc<Handler>) = (Arc::clone(&requests), Arc::new(handler));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, handler) = (Arc::clone(&seen), Arc::clone(&handler));
                std::thread::spawn(move || serve(stream, &seen, &*handler));
            }
        });
        Self { address, requests }
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

/// One request per connection, which keeps the wrong answers simple.
fn serve(mut stream: TcpStream, seen: &Mutex<Vec<Request>>, handler: &Handler) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    if reader.read_line(&mut line).unwrap_or(0) == 0 {
        return;
    }
    let method = line.split(' ').next().unwrap_or_default().to_owned();
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = HashMap::new();
    loop {
        line.clear();
        if reader.read_line(&mut line).unwrap_or(0) <= 2 {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    let request = Request { method, path, headers, reader: None };
    seen.lock().unwrap().push(request.clone());
    let request = Request { reader: Some(Arc::new(Mutex::new(reader))), ..request };
    handler(&request, &mut stream);
}

/// Sends an answer with a right length.
pub(crate) fn answer(stream: &mut TcpStream, status: &str, headers: &[&str], body: &[u8]) {
    answer_sized(stream, status, headers, body, body.len());
}

/// Sends an answer whose `Content-Length` may be a lie.
pub(crate) fn answer_sized(
    stream: &mut TcpStream,
    status: &str,
    headers: &[&str],
    body: &[u8],
    announced_bytes: usize,
) {
    let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {announced_bytes}\r\nConnection: close\r\n");
    for header in headers {
        head += &format!("{header}\r\n");
    }
    head += "\r\n";
    drop(stream.write_all(head.as_bytes()));
    drop(stream.write_all(body));
}

/// Sends a body of unknown length, ended by closing the connection.
pub(crate) fn answer_unsized(stream: &mut TcpStream, body: &[u8]) {
    drop(stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"));
    drop(stream.write_all(body));
}

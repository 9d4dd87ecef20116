//! A registry that does what each test tells it to, however wrong.

use std::collections::HashMap;
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::digest;

/// A request as the registry saw it.
#[derive(Clone, Debug)]
pub struct Request {
    /// Path and query.
    pub path: String,
    /// Headers; names in lower case.
    pub headers: HashMap<String, String>,
    /// How many requests of that path came before.
    pub earlier: usize,
}

impl Request {
    /// Whether this asks for the layer of the image.
    #[must_use]
    pub fn is_for(&self, digest: &str) -> bool {
        self.path.ends_with(digest)
    }
}

/// What is answered.
pub enum Reply {
    /// What is right; ranges are honoured.
    Honest,
    /// A whole answer: status line, further headers, body.
    Answer(&'static str, Vec<String>, Vec<u8>),
    /// Anything at all.
    Raw(Box<dyn FnOnce(&mut TcpStream) + Send>),
}

impl fmt::Debug for Reply {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Honest => "Honest",
            Self::Answer(status, ..) => status,
            Self::Raw(_) => "Raw",
        })
    }
}

impl Reply {
    /// Whatever the function writes.
    pub fn raw(write: impl FnOnce(&mut TcpStream) + Send + 'static) -> Self {
        Self::Raw(Box::new(write))
    }

    /// What announces more bytes than it has, and ends after a pause.
    #[must_use]
    pub fn unfinished(announced_bytes: usize, body: Vec<u8>, pause: Duration) -> Self {
        Self::raw(move |stream| {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {announced_bytes}\r\n\r\n");
            // Whoever hangs up does not want to know.
            drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)));
            thread::sleep(pause);
        })
    }

    /// A redirection.
    #[must_use]
    pub fn redirect(target: &str) -> Self {
        Self::Answer("307 Temporary Redirect", vec![format!("Location: {target}")], Vec::new())
    }
}

/// The one image that the registry has, under any name.
#[derive(Clone, Debug)]
pub struct ScriptedImage {
    /// A tar stream with one large file.
    pub layer: Vec<u8>,
    /// Its configuration.
    pub configuration: Vec<u8>,
    /// Its manifest.
    pub manifest: Vec<u8>,
}

impl ScriptedImage {
    /// An image with a layer of some `layer_bytes`.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn new(layer_bytes: usize) -> Self {
        let content: Vec<u8> =
            (0..layer_bytes).map(|index| (index ^ (index >> 7) ^ (index >> 13)).to_le_bytes()[0]).collect();
        let mut layer = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        layer.append_data(&mut header, "content", content.as_slice()).expect("layer");
        let layer = layer.into_inner().expect("layer");
        let configuration = json!({
            "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/true"]},
            "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]}
        });
        let configuration = configuration.to_string().into_bytes();
        let mut image = Self { layer, configuration, manifest: Vec::new() };
        image.manifest = image.manifest_value().to_string().into_bytes();
        image
    }

    /// The manifest, to be changed.
    #[must_use]
    pub fn manifest_value(&self) -> Value {
        let descriptor = |kind: &str, blob: &[u8]| {
            json!({
                "mediaType": format!("application/vnd.oci.image.{kind}"),
                "digest": digest(blob), "size": blob.len()
            })
        };
        json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("config.v1+json", &self.configuration),
            "layers": [descriptor("layer.v1.tar", &self.layer)]
        })
    }

    fn honest(&self, request: &Request) -> Option<(&'static str, &[u8])> {
        if request.path == "/v2/" {
            return Some(("application/json", b"{}"));
        }
        if request.path.contains("/manifests/") {
            return Some(("application/vnd.oci.image.manifest.v1+json", &self.manifest));
        }
        let blobs = [&self.layer, &self.configuration];
        let blob = blobs.into_iter().find(|blob| request.is_for(&digest(blob)))?;
        Some(("application/octet-stream", blob))
    }
}

type Script = dyn Fn(&Request) -> Reply + Send + Sync;

/// Serves plain http on loopback until the process ends, one request a connection.
pub struct ScriptedRegistry {
    address: String,
    requests: Arc<Mutex<Vec<Request>>>,
    /// What it has.
    pub image: ScriptedImage,
}

impl fmt::Debug for ScriptedRegistry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ScriptedRegistry").field("address", &self.address).finish_non_exhaustive()
    }
}

impl ScriptedRegistry {
    /// Starts one.
    ///
    /// # Panics
    /// Loopback is not there.
    #[must_use]
    pub fn start(image: ScriptedImage, script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("address").to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let registry = Self { address, requests: Arc::clone(&requests), image: image.clone() };
        let (image, script): (_, Arc<Script>) = (Arc::new(image), Arc::new(script));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (image, script, requests) =
                    (Arc::clone(&image), Arc::clone(&script), Arc::clone(&requests));
                thread::spawn(move || serve(stream, &image, &*script, &requests));
            }
        });
        registry
    }

    /// `127.0.0.1:<port>/<name>`
    #[must_use]
    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// `127.0.0.1:<port>`
    #[must_use]
    pub fn server(&self) -> &str {
        &self.address
    }

    /// What was asked for so far.
    ///
    /// # Panics
    /// A connection's thread panicked.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("requests").clone()
    }
}

fn serve(mut stream: TcpStream, image: &ScriptedImage, script: &Script, requests: &Mutex<Vec<Request>>) {
    let Ok(reading) = stream.try_clone() else { return };
    let mut lines = BufReader::new(reading).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let headers = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        })
        .collect();
    let mut request = Request { path, headers, earlier: 0 };
    if let Ok(mut requests) = requests.lock() {
        request.earlier = requests.iter().filter(|earlier| earlier.path == request.path).count();
        requests.push(request.clone());
    }
    match script(&request) {
        Reply::Raw(write) => write(&mut stream),
        Reply::Answer(status, headers, body) => answer(&mut stream, status, &headers, &body),
        Reply::Honest => match image.honest(&request) {
            None => answer(&mut stream, "404 Not Found", &[], b""),
            Some((kind, body)) => {
                let kind = format!("Content-Type: {kind}");
                let range = request.headers.get("range").and_then(|text| text.strip_prefix("bytes="));
                let start = range.and_then(|text| text.trim_end_matches('-').parse::<usize>().ok());
                match start.filter(|start| *start < body.len()) {
                    Some(start) => {
                        let sent = format!("Content-Range: bytes {start}-{}/{}", body.len() - 1, body.len());
                        answer(&mut stream, "206 Partial Content", &[kind, sent], &body[start..]);
                    }
                    None => answer(&mut stream, "200 OK", &[kind], body),
                }
            }
        },
    }
}

fn answer(stream: &mut TcpStream, status: &str, headers: &[String], body: &[u8]) {
    let length = format!("Content-Length: {}", body.len());
    let lines: String = headers.iter().chain([&length]).map(|line| format!("{line}\r\n")).collect();
    // Whoever asked may have gone.
    drop(
        stream
            .write_all(format!("HTTP/1.1 {status}\r\n{lines}Connection: close\r\n\r\n").as_bytes())
            .and_then(|()| stream.write_all(body)),
    );
}

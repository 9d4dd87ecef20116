//! Images that both tools pull from the same registry on loopback, and load from the same archive.

use std::fs::File;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::metric::Metric;
use crate::run;

const LARGE_LAYERS: usize = 5;
const LARGE_LAYER_BYTES: usize = 100 << 20;
const SMALL_FILES: usize = 50_000;
const SMALL_FILE_BYTES: usize = 2048;
const LOAD_LAYERS: usize = 10;

/// A registry with all images, and the archive.
pub(crate) struct ImageFixture {
    registry: Child,
    port: u16,
    archive: PathBuf,
}

impl ImageFixture {
    /// Makes what the metrics need; takes a minute and some gigabytes of disk.
    pub(crate) fn new(folder: &Path, metrics: &[Metric]) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0").context("loopback")?.local_addr()?.port();
        let data = folder.join("registry");
        let configuration = folder.join("registry.yml");
        std::fs::write(
            &configuration,
            format!(
                "version: 0.1\nlog: {{ level: error, accesslog: {{ disabled: true }} }}\nstorage:\n  \
                 filesystem: {{ rootdirectory: {} }}\nhttp:\n  addr: 127.0.0.1:{port}\n",
                data.display()
            ),
        )?;
        let registry = Command::new("docker-registry")
            .arg("serve")
            .arg(&configuration)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("docker-registry is missing: apt-get install docker-registry skopeo")?;
        let fixture = Self { registry, port, archive: folder.join("load.tar") };
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if begin.elapsed() > Duration::from_secs(20) {
                bail!("docker-registry does not come up");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        for metric in metrics {
            fixture.make(folder, *metric)?;
        }
        Ok(fixture)
    }

    /// What is pulled in a sample.
    pub(crate) fn reference(&self, metric: Metric) -> String {
        match metric {
            Metric::Load => "docker.io/library/bench-load:latest".to_owned(),
            Metric::PullFiles => self.name("files:1"),
            Metric::PullChanged => self.name("large:2"),
            _ => self.name("large:1"),
        }
    }

    /// What is there before a sample.
    pub(crate) fn base(&self, metric: Metric) -> Option<String> {
        (metric == Metric::PullChanged).then(|| self.name("large:1"))
    }

    pub(crate) fn archive(&self) -> &Path {
        &self.archive
    }

    fn name(&self, name: &str) -> String {
        format!("127.0.0.1:{}/{name}", self.port)
    }

    fn make(&self, folder: &Path, metric: Metric) -> Result<()> {
        let large = |seed: u64| layer([("noise".to_owned(), noise(seed, LARGE_LAYER_BYTES))]);
        let push = |name: &str, layers: Vec<Layer>| {
            let image = folder.join("image");
            write_layout(&image, layers)?;
            let target = format!("docker://{}", self.name(name));
            copy(&image, &["--dest-tls-verify=false", &target])
        };
        match metric {
            Metric::PullLarge => push("large:1", (0..LARGE_LAYERS as u64).map(large).collect()),
            Metric::PullChanged => {
                push("large:1", (0..LARGE_LAYERS as u64).map(large).collect())?;
                // Another top layer.
                push("large:2", (0..LARGE_LAYERS as u64 - 1).chain([99]).map(large).collect())
            }
            Metric::PullFiles => {
                let file = |number: usize| {
                    let path = format!("folder{}/file{number}", number / 500);
                    (path, noise(number as u64, SMALL_FILE_BYTES))
                };
                push("files:1", vec![layer((0..SMALL_FILES).map(file))])
            }
            Metric::Load => {
                let image = folder.join("image");
                write_layout(&image, (100..100 + LOAD_LAYERS as u64).map(large).collect())?;
                let target = format!("docker-archive:{}:{}", self.archive.display(), self.reference(metric));
                copy(&image, &[&target])
            }
            _ => Ok(()),
        }
    }
}

impl Drop for ImageFixture {
    fn drop(&mut self) {
        // It has ended already if this fails.
        drop(self.registry.kill());
        drop(self.registry.wait());
    }
}

fn copy(layout: &Path, target: &[&str]) -> Result<()> {
    let mut command = Command::new("skopeo");
    command.args(["--insecure-policy", "copy", "--quiet"]).args(&target[..target.len() - 1]);
    command.arg(format!("oci:{}", layout.display())).args(target.last());
    run(&mut command)?;
    std::fs::remove_dir_all(layout).context("cannot remove an image")
}

/// A layer as it is stored, and the digest of its tar stream.
struct Layer {
    compressed: Vec<u8>,
    diff_id: String,
}

fn layer(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Layer {
    let mut builder = tar::Builder::new(Vec::new());
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        // Writing to memory does not fail.
        drop(builder.append_data(&mut header, path, content.as_slice()));
    }
    let plain = builder.into_inner().unwrap_or_default();
    drop(encoder.write_all(&plain));
    Layer { compressed: encoder.finish().unwrap_or_default(), diff_id: digest(&plain) }
}

/// An OCI layout in a folder.
fn write_layout(folder: &Path, layers: Vec<Layer>) -> Result<()> {
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs)?;
    let put = |kind: &str, bytes: &[u8]| -> Result<Value> {
        let digest = digest(bytes);
        let path = blobs.join(digest.trim_start_matches("sha256:"));
        File::create(&path)?.write_all(bytes).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(json!({
            "mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest, "size": bytes.len()
        }))
    };
    let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
    let configuration = json!({
        "architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids}
    });
    let descriptors =
        layers.iter().map(|layer| put("layer.v1.tar+gzip", &layer.compressed)).collect::<Result<Vec<_>>>()?;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": put("config.v1+json", configuration.to_string().as_bytes())?, "layers": descriptors
    });
    let index =
        json!({"schemaVersion": 2, "manifests": [put("manifest.v1+json", manifest.to_string().as_bytes())?]});
    std::fs::write(folder.join("index.json"), index.to_string())?;
    std::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    Ok(())
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Bytes that no compression makes smaller, the same for the same seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let words = std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    });
    words.take(length / 8).flat_map(u64::to_le_bytes).collect()
}

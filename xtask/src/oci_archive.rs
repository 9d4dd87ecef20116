//! Writes OCI image layouts as tar archives, reproducibly: the images that are shipped and tested
//! with are made from Debian packages, so that no public registry is needed.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use sha2::{Digest, Sha256};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Defaults of an image, in the OCI image specification's words.
pub(crate) struct ImageDefaults<'a> {
    pub(crate) reference: &'a str,
    pub(crate) environment: &'a [&'a str],
    pub(crate) command: &'a [&'a str],
    pub(crate) working_directory: &'a str,
}

/// What an image has for one architecture, in the same words: one layer, an uncompressed tar.
pub(crate) struct Variant<'a> {
    pub(crate) architecture: &'a str,
    pub(crate) layer: &'a mut dyn Read,
}

/// Writes an image of one layer for this host to `target`.
pub(crate) fn write(target: &Path, layer: &mut impl Read, defaults: &ImageDefaults<'_>) -> Result<()> {
    write_index(target, [Variant { architecture: "amd64", layer }], defaults)
}

/// Writes an image for several architectures to `target`.
pub(crate) fn write_index<'a>(
    target: &Path,
    variants: impl IntoIterator<Item = Variant<'a>>,
    defaults: &ImageDefaults<'_>,
) -> Result<()> {
    let file = File::create(target).with_context(|| format!("cannot create {}", target.display()))?;
    let mut archive = tar::Builder::new(io::BufWriter::new(file));
    append(&mut archive, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let mut manifests = Vec::new();
    for variant in variants {
        manifests.push(append_variant(&mut archive, target, variant, defaults)?);
    }
    // One manifest is named itself, several by an index.
    let mut named = if let [manifest] = manifests.as_slice() {
        manifest.clone()
    } else {
        let index = serde_json::to_vec(&json!({
            "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests,
        }))?;
        append(&mut archive, &blob(&digest(&index)), &index)?;
        json!({ "mediaType": INDEX, "digest": digest(&index), "size": index.len() })
    };
    named["annotations"] = json!({ "org.opencontainers.image.ref.name": defaults.reference });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [named] });
    append(&mut archive, "index.json", &serde_json::to_vec(&index)?)?;
    archive.into_inner()?.flush().with_context(|| format!("cannot write {}", target.display()))
}

/// Adds layer, configuration and manifest; returns the manifest's descriptor.
fn append_variant(
    archive: &mut tar::Builder<impl Write>,
    target: &Path,
    variant: Variant<'_>,
    defaults: &ImageDefaults<'_>,
) -> Result<serde_json::Value> {
    let scratch = target.with_extension("layer");
    let (layer_digest, layer_size, diff_id) = compress(variant.layer, &scratch)?;
    let config = serde_json::to_vec(&json!({
        "architecture": variant.architecture,
        "os": "linux",
        "config": {
            "Env": defaults.environment,
            "Cmd": defaults.command,
            "WorkingDir": defaults.working_directory,
        },
        "rootfs": { "type": "layers", "diff_ids": [diff_id] },
        "history": [{ "created_by": "cargo xtask" }],
    }))?;
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": digest(&config), "size": config.len(),
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
            "digest": layer_digest, "size": layer_size,
        }],
    }))?;
    append(archive, &blob(&digest(&config)), &config)?;
    append(archive, &blob(&digest(&manifest)), &manifest)?;
    let compressed = File::open(&scratch).with_context(|| format!("cannot open {}", scratch.display()))?;
    archive.append_data(&mut header(layer_size), blob(&layer_digest), compressed)?;
    std::fs::remove_file(&scratch).with_context(|| format!("cannot remove {}", scratch.display()))?;
    Ok(json!({
        "mediaType": MANIFEST, "digest": digest(&manifest), "size": manifest.len(),
        "platform": { "architecture": variant.architecture, "os": "linux" },
    }))
}

/// Compresses into `scratch`; returns digest and size of the result and digest of the input.
fn compress(layer: &mut dyn Read, scratch: &Path) -> Result<(String, u64, String)> {
    let file = File::create(scratch).with_context(|| format!("cannot create {}", scratch.display()))?;
    let mut encoder = GzEncoder::new(Hashing::new(io::BufWriter::new(file)), Compression::fast());
    let mut plain = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = layer.read(&mut buffer).context("cannot read the layer")?;
        if count == 0 {
            break;
        }
        plain.update(&buffer[..count]);
        encoder.write_all(&buffer[..count]).with_context(|| format!("cannot write {}", scratch.display()))?;
    }
    let mut hashing = encoder.finish()?;
    hashing.flush()?;
    Ok((hex(&hashing.hash.finalize()), hashing.length_bytes, hex(&plain.finalize())))
}

struct Hashing<W> {
    output: W,
    hash: Sha256,
    length_bytes: u64,
}

impl<W: Write> Hashing<W> {
    fn new(output: W) -> Self {
        Self { output, hash: Sha256::new(), length_bytes: 0 }
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.output.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.length_bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

fn append(archive: &mut tar::Builder<impl Write>, path: &str, bytes: &[u8]) -> Result<()> {
    archive
        .append_data(&mut header(bytes.len() as u64), path, bytes)
        .with_context(|| format!("cannot add {path}"))
}

fn header(length_bytes: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_size(length_bytes);
    header.set_mode(0o644);
    header
}

fn blob(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(hash: &[u8]) -> String {
    hash.iter().fold(String::from("sha256:"), |text, byte| text + &format!("{byte:02x}"))
}

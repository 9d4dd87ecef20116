//! Images of a few files, as archives.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Writes an image of executable files with one layer; returns the archive's path.
///
/// # Panics
/// The archive cannot be written.
#[must_use]
pub fn write_image(folder: &Path, name: &str, architecture: &str, files: &[(&str, &[u8])]) -> PathBuf {
    let mut layer = tar::Builder::new(Vec::new());
    for (path, contents) in files {
        append(&mut layer, path, 0o755, contents);
    }
    write_layers(folder, name, architecture, &[layer.into_inner().expect("layer")])
}

/// Writes an image of these layers, which are tar streams; returns the archive's path.
///
/// # Panics
/// The archive cannot be written.
#[must_use]
pub fn write_layers(folder: &Path, name: &str, architecture: &str, layers: &[Vec<u8>]) -> PathBuf {
    let diff_ids: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
    let configuration = json!({
        "architecture": architecture, "os": "linux", "config": {"Cmd": ["/true"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}
    });
    let names: Vec<String> = (0..layers.len()).map(|index| format!("layer-{index}.tar")).collect();
    let manifest = json!([{
        "Config": "config.json", "RepoTags": [format!("{name}:latest")], "Layers": names
    }]);
    let path = folder.join(format!("{name}.tar"));
    let mut archive = tar::Builder::new(File::create(&path).expect("archive"));
    append(&mut archive, "config.json", 0o644, configuration.to_string().as_bytes());
    for (name, layer) in names.iter().zip(layers) {
        append(&mut archive, name, 0o644, layer);
    }
    append(&mut archive, "manifest.json", 0o644, manifest.to_string().as_bytes());
    archive.finish().expect("archive");
    path
}

fn append(archive: &mut tar::Builder<impl std::io::Write>, path: &str, mode: u32, contents: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.set_size(contents.len() as u64);
    header.set_mode(mode);
    header.set_cksum();
    archive.append_data(&mut header, path, contents).expect("archive entry");
}

/// The files of one layer: path and contents.
pub type LayerFiles<'a> = &'a [(&'a str, &'a [u8])];

/// Writes an OCI archive of `name:latest` with an index of one image for each architecture, all of the same layers;
/// returns the archive's path.
///
/// # Panics
/// The archive cannot be written.
#[must_use]
pub fn write_index(folder: &Path, name: &str, architectures: &[&str], layers: &[LayerFiles<'_>]) -> PathBuf {
    let mut blobs: Vec<Vec<u8>> = Vec::new();
    let descriptor = |kind: &str, blob: &[u8]| {
        json!({
            "mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest(blob), "size": blob.len()
        })
    };
    let (mut diff_ids, mut layer_descriptors) = (Vec::new(), Vec::new());
    for files in layers {
        let mut layer = tar::Builder::new(Vec::new());
        for (path, contents) in *files {
            append(&mut layer, path, 0o755, contents);
        }
        let layer = layer.into_inner().expect("layer");
        diff_ids.push(digest(&layer));
        layer_descriptors.push(descriptor("layer.v1.tar", &layer));
        blobs.push(layer);
    }
    let mut manifests = Vec::new();
    for architecture in architectures {
        let configuration = json!({
            "architecture": architecture, "os": "linux", "config": {"Cmd": ["/true"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids}
        });
        let configuration = configuration.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("config.v1+json", &configuration), "layers": layer_descriptors
        });
        let manifest = manifest.to_string().into_bytes();
        let mut entry = descriptor("manifest.v1+json", &manifest);
        entry["platform"] = json!({"architecture": architecture, "os": "linux"});
        manifests.push(entry);
        blobs.extend([configuration, manifest]);
    }
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests
    });
    let index = index.to_string().into_bytes();
    let mut root = descriptor("index.v1+json", &index);
    root["annotations"] = json!({
        "io.containerd.image.name": format!("docker.io/library/{name}:latest"),
        "org.opencontainers.image.ref.name": "latest"
    });
    blobs.push(index);
    let path = folder.join(format!("{name}.tar"));
    let mut archive = tar::Builder::new(File::create(&path).expect("archive"));
    append(&mut archive, "oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#);
    let outer = json!({"schemaVersion": 2, "manifests": [root]});
    append(&mut archive, "index.json", 0o644, outer.to_string().as_bytes());
    blobs.sort();
    blobs.dedup();
    for blob in &blobs {
        append(&mut archive, &format!("blobs/sha256/{}", &digest(blob)[7..]), 0o644, blob);
    }
    archive.finish().expect("archive");
    path
}

/// The configuration and the lowest layer of the first image of an OCI archive.
///
/// # Panics
/// The archive is none.
#[must_use]
pub fn read_image(archive: &Path) -> (Value, Vec<u8>) {
    let mut files = HashMap::new();
    let mut entries = tar::Archive::new(File::open(archive).expect("archive"));
    for entry in entries.entries().expect("archive") {
        let mut entry = entry.expect("entry");
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("entry");
        let path = entry.path().expect("path").to_string_lossy().trim_start_matches("./").to_owned();
        files.insert(path, bytes);
    }
    let parse = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).expect("JSON");
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().expect("digest");
        files.get(&format!("blobs/{}", digest.replace(':', "/"))).expect("blob")
    };
    let index = parse(files.get("index.json").expect("index"));
    let manifest = parse(blob(&index["manifests"][0]));
    (parse(blob(&manifest["config"])), blob(&manifest["layers"][0]).clone())
}

/// `sha256:` and 64 digits.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

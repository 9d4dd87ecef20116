//! Images of a few files, as docker archives.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde_json::json;
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
    let layer = layer.into_inner().expect("layer");
    let digest: String = Sha256::digest(&layer).iter().map(|byte| format!("{byte:02x}")).collect();
    let configuration = json!({
        "architecture": architecture, "os": "linux", "config": {"Cmd": ["/true"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]}
    });
    let manifest = json!([{
        "Config": "config.json", "RepoTags": [format!("{name}:latest")], "Layers": ["layer.tar"]
    }]);
    let path = folder.join(format!("{name}.tar"));
    let mut archive = tar::Builder::new(File::create(&path).expect("archive"));
    append(&mut archive, "config.json", 0o644, configuration.to_string().as_bytes());
    append(&mut archive, "layer.tar", 0o644, &layer);
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

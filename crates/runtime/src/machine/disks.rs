//! The files behind the guest's disks: the image, the container's own, its volumes.

use std::fs::File;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bulkhead_devices::{BlockConfiguration, Extent};
use bulkhead_guest_protocol::messages::LayerExtent;
use bulkhead_runtime_control::RuntimeSpecification;

/// Layers become partitions, which start at whole pages so that EROFS blocks stay aligned.
const LAYER_ALIGNMENT_BYTES: u64 = 4096;
/// Disks before those of the volumes: image and writable.
const FIXED_DISKS: usize = 2;
/// `F_WRLCK` in the type that `struct flock` has for it.
#[expect(clippy::cast_possible_truncation, reason = "a constant of 1")]
const WRITE_LOCK: libc::c_short = libc::F_WRLCK as libc::c_short;

/// The guest's name for the n-th volume.
pub(crate) fn volume_device(index: usize) -> String {
    format!("/dev/vd{}", letters(FIXED_DISKS + index))
}

/// As the kernel counts disks (sd_format_disk_name()): a, …, z, aa, ab, …
fn letters(mut index: usize) -> String {
    let mut reversed = Vec::new();
    loop {
        reversed.push(char::from(b'a' + u8::try_from(index % 26).unwrap_or(0)));
        match (index / 26).checked_sub(1) {
            Some(next) => index = next,
            None => return reversed.into_iter().rev().collect(),
        }
    }
}

/// All disks in the order of their letters, and where the layers are on the first, with the emulators
/// after them.
pub(super) fn open(
    specification: &RuntimeSpecification,
) -> Result<(Vec<BlockConfiguration>, Vec<LayerExtent>)> {
    let (image, layers) = open_layers(specification)?;
    let writable = open_writable(&specification.writable_disk)?;
    let mut disks = vec![disk("image", image, true), disk("writable", vec![writable], false)];
    for volume in &specification.volumes {
        let extent =
            open_writable(&volume.path).with_context(|| format!("cannot use volume '{}'", volume.name))?;
        disks.push(disk(&volume.name, vec![extent], volume.read_only));
    }
    Ok((disks, layers))
}

fn disk(name: &str, extents: Vec<Extent>, read_only: bool) -> BlockConfiguration {
    BlockConfiguration { name: name.to_owned(), extents, read_only, serial: serial(name) }
}

fn open_layers(specification: &RuntimeSpecification) -> Result<(Vec<Extent>, Vec<LayerExtent>)> {
    ensure!(!specification.layers.is_empty(), "the image has no layers");
    let mut on_host = Vec::with_capacity(specification.layers.len());
    let mut on_disk = Vec::with_capacity(specification.layers.len());
    let mut start_bytes = 0_u64;
    let emulators = specification.emulators.iter().map(|emulator| &emulator.image);
    for layer in specification.layers.iter().chain(emulators) {
        let opened = File::options().read(true).custom_flags(libc::O_NOFOLLOW).open(&layer.path);
        let file = opened.with_context(|| format!("cannot open layer '{}'", layer.path.display()))?;
        let found_bytes = file
            .metadata()
            .with_context(|| format!("cannot examine layer '{}'", layer.path.display()))?
            .len();
        ensure!(
            found_bytes == layer.length_bytes,
            "layer '{}' has {found_bytes} bytes instead of {}",
            layer.path.display(),
            layer.length_bytes
        );
        let length_bytes = layer.length_bytes.next_multiple_of(LAYER_ALIGNMENT_BYTES);
        on_host.push(Extent { file: Arc::new(file), file_offset_bytes: 0, length_bytes });
        on_disk.push(LayerExtent { start_bytes, length_bytes });
        start_bytes = start_bytes.checked_add(length_bytes).context("the layers exceed any disk")?;
    }
    Ok((on_host, on_disk))
}

/// The lock belongs to the open file description, which lives as long as the device that serves it:
/// no second VM gets this disk, whatever becomes of any daemon.
fn open_writable(path: &Path) -> Result<Extent> {
    let opened = File::options().read(true).write(true).custom_flags(libc::O_NOFOLLOW).open(path);
    let file = opened.with_context(|| format!("cannot open disk '{}'", path.display()))?;
    let metadata = file.metadata().with_context(|| format!("cannot examine disk '{}'", path.display()))?;
    ensure!(
        metadata.is_file() && !metadata.file_type().is_block_device(),
        "disk '{}' is not a regular file",
        path.display()
    );
    lock(&file).with_context(|| format!("disk '{}' is in use by another machine", path.display()))?;
    Ok(Extent { file: Arc::new(file), file_offset_bytes: 0, length_bytes: metadata.len() })
}

fn lock(file: &File) -> std::io::Result<()> {
    use std::os::fd::AsRawFd;
    // SAFETY: all-zero bytes are a valid flock: from the start, to the end, pid 0 as F_OFD_SETLK wants.
    let mut request: libc::flock = unsafe { std::mem::zeroed() };
    request.l_type = WRITE_LOCK;
    // SAFETY: the descriptor is open and the structure lives.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const request) } == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}

fn serial(name: &str) -> [u8; 20] {
    let mut serial = [0; 20];
    for (target, byte) in serial.iter_mut().zip(name.bytes()) {
        *target = byte;
    }
    serial
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named_as_the_kernel_does() {
        let names = [0, 1, 23, 24, 25].map(volume_device);
        assert_eq!(names, ["/dev/vdc", "/dev/vdd", "/dev/vdz", "/dev/vdaa", "/dev/vdab"]);
        assert_eq!(letters(26 + 26 * 26), "aaa");
    }
}

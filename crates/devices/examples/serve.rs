//! Serves disks and a vsock device to a monitor that is started by hand, for experiments
//!
//! `serve DIRECTORY [DISK | ro:LAYER[,LAYER...]]...` binds `DIRECTORY/vsock` and `DIRECTORY/disk0`, `disk1`, ...
//! Guest ports: 1 echoes, 2 swallows and reports the speed, 3 sends 64 MiB.
#![expect(clippy::print_stdout, reason = "the output is for the person at the terminal")]

use std::error::Error;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bulkhead_devices::{
    BlockConfiguration, BlockDevice, Extent, GuestConnection, VsockConfiguration, VsockDevice,
};

const SENT_BYTES: usize = 64 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    bulkhead_devices::install_sigbus_guard()?;
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().ok_or("serve DIRECTORY [DISK]...")?);
    let mut disks = Vec::new();
    for (index, argument) in arguments.enumerate() {
        let listener = UnixListener::bind(directory.join(format!("disk{index}")))?;
        disks.push(BlockDevice::spawn(listener, disk(index, &argument)?)?);
    }
    let listener = UnixListener::bind(directory.join("vsock"))?;
    let (vsock, accepted) = VsockDevice::spawn(listener, VsockConfiguration::new("vsock", [1, 2, 3]))?;
    println!("ready");
    for connection in accepted {
        std::thread::spawn(move || println!("{:?}", serve(connection)));
    }
    println!("vsock: {:?}", vsock.wait());
    for disk in disks {
        println!("{:?}", disk.statistics());
        println!("disk: {:?}", disk.wait());
    }
    Ok(())
}

fn disk(index: usize, argument: &str) -> Result<BlockConfiguration, Box<dyn Error>> {
    let (read_only, paths) = match argument.strip_prefix("ro:") {
        Some(paths) => (true, paths),
        None => (false, argument),
    };
    let mut extents = Vec::new();
    for path in paths.split(',') {
        let file = File::options().read(true).write(!read_only).open(path)?;
        let length_bytes = file.metadata()?.len().next_multiple_of(4096);
        extents.push(Extent { file: Arc::new(file), file_offset_bytes: 0, length_bytes });
    }
    let name = format!("disk{index}");
    let mut serial = [0; 20];
    serial[..name.len()].copy_from_slice(name.as_bytes());
    Ok(BlockConfiguration { name, extents, read_only, serial })
}

fn serve(mut connection: GuestConnection) -> std::io::Result<String> {
    let mut buffer = vec![0; 256 * 1024];
    let start = Instant::now();
    let mut bytes = 0;
    if connection.port == 3 {
        while bytes < SENT_BYTES {
            bytes += connection.stream.write(&buffer)?;
        }
    } else {
        loop {
            let count = connection.stream.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            bytes += count;
            if connection.port == 1 {
                connection.stream.write_all(&buffer[..count])?;
            }
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let speed = bytes as f64 / seconds / 1e6;
    Ok(format!("port {}: {bytes} bytes in {seconds:.3} s, {speed:.0} MB/s", connection.port))
}

//! Converts a layer and says how fast: `convert <layer.tar[.gz|.zst]> <output.erofs>`.

#![expect(clippy::print_stdout, reason = "a program")]

use std::fs::File;
use std::time::Instant;

use bulkhead_image_store::Limits;
use bulkhead_image_store::layer::convert_layer;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(input), Some(output)) = (arguments.next(), arguments.next()) else {
        return Err("usage: convert <layer.tar[.gz|.zst]> <output.erofs>".into());
    };
    let output = File::options().read(true).write(true).create(true).truncate(true).open(output)?;
    let started = Instant::now();
    let layer = convert_layer(File::open(input)?, output.try_clone()?, &Limits::default())?;
    let converted = started.elapsed();
    output.sync_all()?;
    let synced = started.elapsed() - converted;
    #[expect(clippy::cast_precision_loss, reason = "a rate to read")]
    let rate = layer.uncompressed_bytes as f64 / 1e6 / converted.as_secs_f64();
    println!("{} bytes of tar, {} of EROFS", layer.uncompressed_bytes, layer.length_bytes);
    println!("{converted:.2?} to convert ({rate:.0} MB/s), {synced:.2?} to sync");
    Ok(())
}

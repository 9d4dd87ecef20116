//! A layer in any compression: an error, or an EROFS image whose every directory can be read.
#![no_main]

use bulkhead_erofs::{FileType, Image};
use bulkhead_image_store::Limits;
use bulkhead_image_store::layer::convert_layer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { max_layer_bytes: 16 << 20, ..Limits::default() };
    let file = tempfile::tempfile().expect("temporary file");
    if convert_layer(bytes, file.try_clone().expect("handle"), &limits).is_err() {
        return;
    }
    let image = Image::open(file).expect("a converted layer opens");
    let mut pending = vec![image.root().expect("root")];
    while let Some(directory) = pending.pop() {
        let entries = image.entries(&directory).expect("entries");
        pending.extend(
            entries.into_iter().map(|(_, stat)| stat).filter(|stat| stat.kind == FileType::Directory),
        );
    }
});

//! Writes `src/generated.rs` from `proto/guest.proto`. Needs protoc (Debian: protobuf-compiler).

fn main() -> std::io::Result<()> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = tempfile::tempdir()?;
    prost_build::Config::new()
        .btree_map(["."])
        .out_dir(output.path())
        .compile_protos(&[root.join("proto/guest.proto")], &[root.join("proto")])?;
    let target = std::env::args_os().nth(1).map_or(root.join("src/generated.rs"), Into::into);
    std::fs::copy(output.path().join("bulkhead.guest.rs"), target)?;
    Ok(())
}

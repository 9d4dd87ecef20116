//! The checked-in code is what the generator makes of the contract.

#[test]
fn generated_code_matches_the_proto_file() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = tempfile::tempdir().unwrap();
    prost_build::Config::new()
        .btree_map(["."])
        .out_dir(output.path())
        .compile_protos(&[root.join("proto/guest.proto")], &[root.join("proto")])
        .expect("protoc is missing: apt-get install protobuf-compiler");
    let fresh = std::fs::read_to_string(output.path().join("bulkhead.guest.rs")).unwrap();
    let checked_in = std::fs::read_to_string(root.join("src/generated.rs")).unwrap();
    assert_eq!(fresh, checked_in, "run `cargo run --release -p bulkhead-guest-protocol --example generate`");
}

//! Message types generated from `proto/guest.proto` by `examples/generate.rs`.
#![allow(
    clippy::all,
    clippy::pedantic,
    missing_docs,
    unreachable_pub,
    reason = "generated code keeps the generator's style"
)]

include!("generated.rs");

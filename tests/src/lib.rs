//! Fixtures of the suites that boot real VMs.
//!
//! An [`Installation`] is a Bulkhead of its own: own state, sockets and daemons, under one folder in
//! the temporary directory. When it goes out of scope it stops its services and looks for processes
//! that were left behind, which fails the test. After a failed test the folder stays, with consoles,
//! logs and state, and its path is printed.
//!
//! Tier 1 is `Installation::container(&["run", …])`, the command as a user types it. Tier 2 are the
//! helpers that save typing: [`Installation::run_ok`], [`Installation::snapshot`], ….
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "fixtures fail tests by panicking"
)]

mod echo;
pub mod flags;
pub mod golden;
mod image;
mod installation;
pub mod linearizability;
mod outcome;
mod outside;
mod own_host;
mod places;
mod processes;
mod program;
mod registry;
mod scripted_registry;
mod terminal;
mod terminal_command;

pub use echo::{exchange, serve_echo};
pub use image::{LayerFiles, digest, read_image, write_image, write_index, write_layers};
pub use installation::Installation;
pub use outcome::{Outcome, run_with_deadline};
pub use outside::Outside;
pub use own_host::{FIRST_SUBORDINATE_ID, OwnHost, SUBORDINATE_IDS, require_program};
pub use places::places;
pub use processes::{PATIENCE, Process, wait_until};
pub use program::{build_program, put_program};
pub use registry::{Access, Certificate, Registry, skopeo};
pub use scripted_registry::{Reply, Request, ScriptedImage, ScriptedRegistry};
pub use terminal::Terminal;
pub use terminal_command::TerminalCommand;

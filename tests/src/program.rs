//! Programs of `tests/programs/`, for what the demo image has no program for.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Installation, run_with_deadline};

/// Compiles a program statically and puts it into a running container as `/bin/<name>`.
///
/// # Panics
/// It does not compile, or the container does not take it.
#[track_caller]
pub fn put_program(installation: &Installation, container: &str, name: &str) {
    let program = build_program(installation, name);
    let script = format!("cat > /bin/{name} && chmod 755 /bin/{name}");
    let bytes = fs::read(&program).expect("program");
    let put = installation.container_with_input(&["exec", "-i", container, "sh", "-c", &script], &bytes);
    assert_eq!(put.code, 0, "{put:?}");
}

/// Compiles a program statically, for the host or a container; returns where it is in the installation's folder.
///
/// # Panics
/// It does not compile.
#[must_use]
#[track_caller]
pub fn build_program(installation: &Installation, name: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs").join(format!("{name}.rs"));
    let program = installation.folder().join(name);
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition", "2024", "-O", "-C", "target-feature=+crt-static", "-C", "strip=symbols", "-o"]);
    let compiled = run_with_deadline(rustc.arg(&program).arg(&source), b"");
    assert_eq!(compiled.code, 0, "{compiled:?}");
    program
}

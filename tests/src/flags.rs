//! What a flag of `run` comes to, in the demo image.

use crate::Installation;

/// What a script prints in a container with these flags.
///
/// # Panics
/// It fails.
#[must_use]
#[track_caller]
pub fn run(installation: &Installation, flags: &[&str], script: &str) -> String {
    installation.run_ok(&[&["run", "--rm"], flags, &["demo", "sh", "-c", script]].concat())
}

/// A container with these flags is refused with this code, in one line that says this.
///
/// # Panics
/// It is not.
#[track_caller]
pub fn refused(installation: &Installation, flags: &[&str], code: i32, word: &str) {
    let outcome = installation.container(&[&["run", "--rm"], flags, &["demo", "true"]].concat());
    assert_eq!(outcome.code, code, "{flags:?}: {outcome:?}");
    let told: Vec<&str> = outcome.stderr.lines().filter(|line| line.starts_with("Error: ")).collect();
    assert!(matches!(told[..], [line] if line.contains(word)), "{word} of {flags:?}: {outcome:?}");
}

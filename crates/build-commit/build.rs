//! Reads git's files itself: git(1) may be missing, and refuses repositories of other users.
//!
//! Cargo runs this again only when one of the files changes that a commit or a checkout changes
//! (gitrepository-layout(5)), so that nothing is compiled anew without a reason.
#![allow(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]

use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-env-changed=BULKHEAD_COMMIT");
    let commit = std::env::var("BULKHEAD_COMMIT").ok().filter(|commit| !commit.is_empty()).or_else(read);
    println!("cargo::rustc-env=BULKHEAD_BUILD_COMMIT={}", commit.as_deref().unwrap_or("unspecified"));
}

fn read() -> Option<String> {
    let manifest = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR")?);
    // That of another project around an unpacked archive would tell its commit for ours.
    let own = git_directory(&manifest.parent()?.parent()?.join(".git"))?;
    // Branches of a further work tree are those of the first.
    let shared = match fs::read_to_string(own.join("commondir")) {
        Ok(path) => own.join(path.trim_end()),
        Err(_) => own.clone(),
    };
    watch(&own.join("HEAD"));
    // Tells of every commit, also on a branch whose file does not exist yet.
    watch(&own.join("logs/HEAD"));
    let head = fs::read_to_string(own.join("HEAD")).ok()?;
    let Some(branch) = head.trim_end().strip_prefix("ref: ") else { return hash(&head) };
    watch(&shared.join(branch));
    watch(&shared.join("packed-refs"));
    let loose = fs::read_to_string(shared.join(branch)).ok();
    loose.as_deref().and_then(hash).or_else(|| {
        let packed = fs::read_to_string(shared.join("packed-refs")).ok()?;
        packed.lines().find_map(|line| hash(line.strip_suffix(branch)?.strip_suffix(' ')?))
    })
}

/// `.git` of a further work tree is a file with `gitdir: PATH`.
fn git_directory(path: &Path) -> Option<PathBuf> {
    if path.is_dir() {
        return Some(path.to_owned());
    }
    watch(path);
    let text = fs::read_to_string(path).ok()?;
    Some(path.parent()?.join(text.trim_end().strip_prefix("gitdir: ")?))
}

fn hash(text: &str) -> Option<String> {
    let text = text.trim_end();
    let is_hash = matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then(|| text.to_owned())
}

/// A file that is not there would count as changed each time.
fn watch(path: &Path) {
    if path.is_file() {
        println!("cargo::rerun-if-changed={}", path.display());
    }
}

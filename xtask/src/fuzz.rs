//! Runs the fuzz targets, one after the other.
//!
//! They need a nightly compiler and a C++ compiler (libFuzzer), but no cargo-fuzz: what that adds is a list of flags.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::{process, repository};

const TARGETS: [&str; 5] = ["names", "documents", "tar", "layer", "erofs"];
const DEFAULT_SECONDS: u64 = 180;
const TRIPLE: &str = "x86_64-unknown-linux-gnu";
/// Counters on every edge, comparisons as hints, and AddressSanitizer (clang's SanitizerCoverage documentation).
const FLAGS: [&str; 10] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg fuzzing",
    "-Zsanitizer=address",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
    "-Cdebug-assertions",
    "-Coverflow-checks",
];

/// `[target…] [seconds]`: all targets for three minutes each, unless said otherwise.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    let seconds = words.iter().find_map(|word| word.parse().ok()).unwrap_or(DEFAULT_SECONDS);
    let named: Vec<&str> = words.iter().copied().filter(|word| word.parse::<u64>().is_err()).collect();
    if let Some(unknown) = named.iter().find(|name| !TARGETS.contains(name)) {
        bail!("there is no fuzz target '{unknown}': expected {}", TARGETS.join(", "));
    }
    let root = repository::root();
    let output = root.join("target/fuzz");
    let mut build = Command::new("cargo");
    build.args(["+nightly", "build", "--release", "--target", TRIPLE]);
    build.arg("--manifest-path").arg(root.join("fuzz/Cargo.toml")).arg("--target-dir").arg(&output);
    // The toolchain of the outer cargo would win over `+nightly`.
    build.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO").env("RUSTFLAGS", FLAGS.join(" "));
    ensure!(
        build.status().context("cannot run cargo")?.success(),
        "cannot build the fuzz targets; they need: rustup toolchain install nightly, apt-get install g++"
    );
    for target in TARGETS.iter().filter(|target| named.is_empty() || named.contains(target)) {
        fuzz(target, &output, seconds)?;
    }
    Ok(())
}

fn fuzz(target: &str, output: &Path, seconds: u64) -> Result<()> {
    let (corpus, found) = (output.join("corpus").join(target), output.join("found").join(target));
    for folder in [&corpus, &found] {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    seed(target, &corpus)?;
    println!("fuzz: {target} for {seconds} s");
    let status = Command::new(output.join(TRIPLE).join("release").join(target))
        .arg(&corpus)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", found.display()))
        // What is freed stays in AddressSanitizer's quarantine, and would count.
        .env("ASAN_OPTIONS", "quarantine_size_mb=16")
        .args(["-rss_limit_mb=512", "-max_len=65536", "-timeout=20", "-print_final_stats=1", "-verbosity=0"])
        .status()
        .with_context(|| format!("cannot run the fuzz target {target}"))?;
    ensure!(status.success(), "{target} failed; what made it fail is in {}", found.display());
    Ok(())
}

/// Something to begin with: checksums and magic numbers are not found by chance.
fn seed(target: &str, corpus: &Path) -> Result<()> {
    let texts: &[&str] = match target {
        "names" => &[
            "localhost:5000/a/b:tag",
            "linux/arm64/v8",
            "sha256:0123",
            "application/vnd.oci.image.index.v1+json",
        ],
        "documents" => &[
            r#"{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":7,
                "digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                "platform":{"architecture":"amd64","os":"linux"}}]}"#,
            r#"{"architecture":"amd64","os":"linux","config":{"Env":["A=B"],"Cmd":["sh"],"User":"1:2","Healthcheck":
                {"Test":["CMD","true"],"Interval":1}},"rootfs":{"type":"layers","diff_ids":[]}}"#,
        ],
        _ => &[],
    };
    for (index, text) in texts.iter().enumerate() {
        fs::write(corpus.join(format!("seed-{index}")), text).context("cannot write a seed")?;
    }
    if target == "erofs" {
        let seed = corpus.join("seed-variety");
        let arguments = ["run", "--release", "-p", "bulkhead-erofs", "--example", "variety", "--"];
        let status = process::cargo_in("").args(arguments).arg(&seed).status().context("cannot run cargo")?;
        ensure!(status.success(), "the seed {} could not be made", seed.display());
    }
    if matches!(target, "tar" | "layer") {
        let path = &corpus.with_file_name(format!("{target}-seed"));
        if path.exists() {
            fs::remove_dir_all(path).context("cannot remove an earlier seed")?;
        }
        fs::create_dir_all(path.join("folder")).context("cannot write a seed")?;
        for name in ["file", ".wh.gone", "folder/.wh..wh..opq", &"n".repeat(120)] {
            fs::write(path.join(name), name).context("cannot write a seed")?;
        }
        fs::hard_link(path.join("file"), path.join("folder/hard")).context("cannot write a seed")?;
        std::os::unix::fs::symlink("../file", path.join("folder/link")).context("cannot write a seed")?;
        fs::File::create(path.join("sparse"))
            .and_then(|file| file.set_len(1 << 20))
            .context("cannot write a seed")?;
        for (name, options) in
            [("pax", "--format=pax"), ("gnu", "--format=gnu"), ("gzip", "--gzip"), ("zstd", "--zstd")]
        {
            let status = Command::new("tar")
                .args(["--create", "--sparse", options, "--file"])
                .arg(corpus.join(format!("seed-{name}")))
                .arg("--directory")
                .arg(path)
                .arg(".")
                .stdin(Stdio::null())
                .status()
                .context("cannot run tar")?;
            ensure!(status.success(), "tar cannot make the seed {name} (apt-get install tar zstd)");
        }
    }
    Ok(())
}

//! `make test`: builds the install tree, runs every test of all workspaces, adds up the results.

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};

use crate::{debian_image, foreign_image, install_tree, process};

#[derive(Debug, Default, PartialEq, Eq)]
struct Totals {
    passed: u64,
    failed: u64,
    ignored: u64,
}

/// Runs all tests, or those whose name contains the filter. The last line is the summary.
pub(crate) fn run(filter: &[&str]) -> ExitCode {
    match run_all(filter) {
        Ok((totals, true)) if totals.failed == 0 && totals.passed > 0 => {
            println!("{} passed, {} failed", totals.passed, totals.failed);
            ExitCode::SUCCESS
        }
        Ok((totals, _)) => {
            // A suite that could not be built or crashed has no failed test of its own to count.
            println!("{} passed, {} failed", totals.passed, totals.failed.max(1));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("xtask: {error:#}");
            println!("0 passed, 1 failed");
            ExitCode::FAILURE
        }
    }
}

fn run_all(filter: &[&str]) -> Result<(Totals, bool)> {
    let tree = install_tree::build()?;
    let debian = debian_image::archive(debian_image::TEST)?;
    let foreign = foreign_image::archive()?;
    let mut totals = Totals::default();
    let mut succeeded = true;
    for folder in ["guest", "file-server", ""] {
        let mut command = process::cargo_in(folder);
        command
            .args(["test", "--release", "--workspace", "--no-fail-fast"])
            .args(filter)
            .env("BULKHEAD_TEST_INSTALL_ROOT", &tree)
            .env("BULKHEAD_TEST_DEBIAN_IMAGE", &debian)
            .env("BULKHEAD_TEST_FOREIGN_IMAGE", &foreign)
            .stdout(Stdio::piped());
        succeeded &= run_one(&mut command, &mut totals)?;
    }
    Ok((totals, succeeded))
}

fn run_one(command: &mut Command, totals: &mut Totals) -> Result<bool> {
    let mut child = command.spawn().context("cannot run cargo test")?;
    let output = child.stdout.take().context("cargo test has no stdout")?;
    for line in BufReader::new(output).lines() {
        let line = line.context("cannot read what cargo test prints")?;
        println!("{line}");
        totals.add(&line);
    }
    Ok(child.wait().context("cannot wait for cargo test")?.success())
}

impl Totals {
    /// Adds a line like `test result: ok. 4 passed; 0 failed; 1 ignored; 0 measured; …`.
    fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else { return };
        let counts = result.split_once(". ").map_or("", |(_, counts)| counts);
        for part in counts.split("; ") {
            match part.split_once(' ') {
                Some((number, "passed")) => self.passed += number.parse().unwrap_or(0),
                Some((number, "failed")) => self.failed += number.parse().unwrap_or(0),
                Some((number, "ignored")) => self.ignored += number.parse().unwrap_or(0),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_add_up() {
        let mut totals = Totals::default();
        totals.add(
            "test result: ok. 4 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s",
        );
        totals.add("test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out");
        totals.add("test something ... ok");
        assert_eq!(totals, Totals { passed: 6, failed: 3, ignored: 1 });
    }
}

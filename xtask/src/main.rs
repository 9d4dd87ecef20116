//! Builds, runs and tests the project. Targets of the Makefile are one line each; the work is here.
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a developer's tool talks to a terminal")]

mod architecture;
mod debian_image;
mod demo_image;
mod emulators;
mod foreign_image;
mod fuzz;
mod install_tree;
mod oci_archive;
mod process;
mod reliability;
mod repository;
mod run;
mod test_runner;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask build|man|run|test [filter]|bench [rounds] [metric…]|fuzz [target…] [seconds]|check|format|test-images";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["build"] => install_tree::build().map(|_| ()),
        ["man"] => install_tree::manual_pages(),
        ["assemble"] => install_tree::assemble().map(|_| ()),
        ["run"] => run::demo(),
        ["test", filter @ ..] => return test_runner::run(filter),
        ["bench", rest @ ..] => run::benchmark(rest),
        ["fuzz", rest @ ..] => fuzz::run(rest),
        ["check"] => architecture::check(),
        ["format"] => process::cargo(&["fmt", "--all"])
            .and_then(|()| process::file_server_cargo(&["fmt", "--all"]))
            .and_then(|()| process::guest_cargo(&["fmt", "--all"])),
        ["test-images"] => test_images(),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(64);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Prints what the suites want to find in their environment.
fn test_images() -> anyhow::Result<()> {
    println!("BULKHEAD_TEST_DEBIAN_IMAGE={}", debian_image::archive(debian_image::TEST)?.display());
    println!("BULKHEAD_TEST_FOREIGN_IMAGE={}", foreign_image::archive()?.display());
    Ok(())
}

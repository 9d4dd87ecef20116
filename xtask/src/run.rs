//! `make run` and `make bench`.

use std::process::Command;

use anyhow::Result;

use crate::{debian_image, install_tree, process};

/// Builds, loads the demo image and runs it.
pub(crate) fn demo() -> Result<()> {
    let tree = install_tree::build()?;
    let container = tree.join("bin/container");
    eprintln!("$ container image load -i demo.tar");
    process::run(
        Command::new(&container).args(["image", "load", "-i"]).arg(tree.join("share/bulkhead/demo.tar")),
    )?;
    eprintln!("$ container run --rm demo");
    process::run(Command::new(&container).args(["run", "--rm", "demo"]))?;
    eprintln!(
        "\nThe command is {}; `container system stop` ends the services that were started.",
        container.display()
    );
    Ok(())
}

/// Builds and runs the side-by-side benchmark.
pub(crate) fn benchmark(arguments: &[&str]) -> Result<()> {
    let tree = install_tree::build()?;
    process::cargo(&["build", "--release", "--package", "bulkhead-bench"])?;
    let mut command = process::cargo_in("");
    command
        .args(["run", "--quiet", "--release", "--package", "bulkhead-bench", "--"])
        .args(arguments)
        .env("BULKHEAD_TEST_INSTALL_ROOT", tree);
    // Making it takes minutes, which those who measure something else need not wait.
    let others = ["network", "fill-memory", "start-programs", "all"];
    if arguments.iter().any(|word| word.starts_with("folder") || others.contains(word)) {
        command.env("BULKHEAD_BENCH_PROGRAMS", debian_image::archive(debian_image::PROGRAMS)?);
    }
    process::run(&mut command)
}

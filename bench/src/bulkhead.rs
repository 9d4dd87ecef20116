//! This project, with state of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{Metric, Tool, run};

pub(crate) struct Bulkhead {
    tree: PathBuf,
    folder: PathBuf,
}

impl Bulkhead {
    /// Starts the services and loads the demo image.
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let tree = std::env::var_os("BULKHEAD_TEST_INSTALL_ROOT")
            .context("BULKHEAD_TEST_INSTALL_ROOT is not set: run `make bench`")?;
        let tool = Self { tree: tree.into(), folder: folder.join("b") };
        let archive = tool.tree.join("share/bulkhead/demo.tar");
        run(tool.container(&["image", "load", "-i"]).arg(archive))?;
        run(&mut tool.container(&["run", "-d", "--name", "kept", "demo", "sleep", "100000"]))?;
        Ok(tool)
    }

    fn container(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.tree.join("bin/container"));
        command
            .args(words)
            .env("CONTAINER_INSTALL_ROOT", &self.tree)
            .env("CONTAINER_APP_ROOT", self.folder.join("app"))
            .env("CONTAINER_LOG_ROOT", self.folder.join("log"))
            .env("CONTAINER_RUNTIME_ROOT", self.folder.join("run"));
        command
    }
}

impl Tool for Bulkhead {
    fn name(&self) -> &'static str {
        "bulkhead"
    }

    fn command(&self, metric: Metric) -> Command {
        match metric {
            Metric::StartDefaultNetwork => self.container(&["run", "--rm", "demo", "true"]),
            Metric::StartNoNetwork => self.container(&["run", "--rm", "--network", "none", "demo", "true"]),
            Metric::Exec => self.container(&["exec", "kept", "true"]),
            Metric::RemoveRunning => self.container(&["rm", "-f", "removed"]),
        }
    }

    fn prepare(&self, metric: Metric) -> Result<()> {
        if metric == Metric::RemoveRunning {
            run(&mut self.container(&["run", "-d", "--name", "removed", "demo", "sleep", "1000"]))?;
        }
        Ok(())
    }
}

impl Drop for Bulkhead {
    fn drop(&mut self) {
        if let Err(error) = run(&mut self.container(&["system", "stop"])) {
            println!("cannot stop the services: {error:#}");
        }
    }
}

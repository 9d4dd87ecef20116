//! Debian's podman with runc, with a store of its own.
//!
//! runc because crun 1.8 refuses hosts with hybrid cgroups; explicit ulimits because podman 4.3
//! otherwise asks for more than a host with low hard limits gives.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{Metric, Tool, run};

const RUN: [&str; 5] = ["run", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];

pub(crate) struct Podman {
    folder: PathBuf,
}

impl Podman {
    /// Imports the same busybox that the demo image has, and starts the container of `exec`.
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let tool = Self { folder: folder.join("p") };
        let root = folder.join("p-root");
        std::fs::create_dir_all(root.join("bin")).context("cannot create the peer's root")?;
        let busybox =
            ["/bin/busybox", "/usr/bin/busybox"].map(Path::new).into_iter().find(|path| path.exists());
        let Some(busybox) = busybox else { bail!("busybox is missing: apt-get install busybox-static") };
        std::fs::copy(busybox, root.join("bin/busybox")).context("cannot copy busybox")?;
        for applet in ["true", "sleep", "sh"] {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(applet))
                .context("cannot link an applet")?;
        }
        let archive = folder.join("p-root.tar");
        run(Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&archive).arg("."))?;
        run(tool.podman(&["import", "--quiet"]).arg(&archive).arg("demo"))?;
        run(tool.podman(&RUN).args(["-d", "--name", "kept", "demo", "sleep", "100000"]))?;
        Ok(tool)
    }

    fn podman(&self, words: &[&str]) -> Command {
        let mut command = Command::new("podman");
        command
            .arg("--root")
            .arg(self.folder.join("store"))
            .arg("--runroot")
            .arg(self.folder.join("run"))
            .args(["--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "file"])
            .args(words);
        command
    }
}

impl Tool for Podman {
    fn name(&self) -> &'static str {
        "podman"
    }

    fn command(&self, metric: Metric) -> Command {
        match metric {
            Metric::StartDefaultNetwork => {
                let mut command = self.podman(&RUN);
                command.args(["--rm", "demo", "true"]);
                command
            }
            Metric::StartNoNetwork => {
                let mut command = self.podman(&RUN);
                command.args(["--rm", "--network", "none", "demo", "true"]);
                command
            }
            Metric::Exec => self.podman(&["exec", "kept", "true"]),
            // -t 0: both tools kill at once.
            Metric::RemoveRunning => self.podman(&["rm", "-f", "-t", "0", "removed"]),
        }
    }

    fn prepare(&self, metric: Metric) -> Result<()> {
        if metric == Metric::RemoveRunning {
            run(self.podman(&RUN).args(["-d", "--name", "removed", "demo", "sleep", "1000"]))?;
        }
        Ok(())
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        for words in [&["rm", "-f", "-t", "0", "--all"][..], &["rmi", "--all", "--force"]] {
            if let Err(error) = run(&mut self.podman(words)) {
                println!("cannot clean up the peer: {error:#}");
            }
        }
    }
}

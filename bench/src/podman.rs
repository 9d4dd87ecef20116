//! Debian's podman with runc, with a store of its own.
//!
//! runc because crun 1.8 refuses hosts with hybrid cgroups; explicit ulimits because podman 4.3
//! otherwise asks for more than a host with low hard limits gives.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use anyhow::{Context, Result, bail, ensure};

use crate::image_fixture::ImageFixture;
use crate::metric::{FIFTY, HUNDRED, Metric};
use crate::network::{self, Published};
use crate::{Tool, folder_fixture, programs, run};

const RUN: [&str; 5] = ["run", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];
const CREATE: [&str; 5] = ["create", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];

pub(crate) struct Podman {
    folder: PathBuf,
    images: Option<Rc<ImageFixture>>,
}

impl Podman {
    /// Imports the same busybox that the demo image has, and starts the container of `exec`.
    pub(crate) fn new(folder: &Path, images: Option<Rc<ImageFixture>>) -> Result<Self> {
        let tool = Self { folder: folder.join("p"), images };
        let root = folder.join("p-root");
        std::fs::create_dir_all(root.join("bin")).context("cannot create the peer's root")?;
        let busybox =
            ["/bin/busybox", "/usr/bin/busybox"].map(Path::new).into_iter().find(|path| path.exists());
        let Some(busybox) = busybox else { bail!("busybox is missing: apt-get install busybox-static") };
        std::fs::copy(busybox, root.join("bin/busybox")).context("cannot copy busybox")?;
        for applet in ["true", "sleep", "sh", "head"] {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(applet))
                .context("cannot link an applet")?;
        }
        let archive = folder.join("p-root.tar");
        run(Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&archive).arg("."))?;
        run(tool.podman(&["import", "--quiet"]).arg(&archive).arg("demo"))?;
        tool.start_idle("kept")?;
        Ok(tool)
    }

    /// Removes the image of a metric with its content, and pulls what a sample starts from.
    fn reset_images(&self, metric: Metric) -> Result<()> {
        let Some(images) = &self.images else { return Ok(()) };
        let reference = images.reference(metric);
        let exists = self.podman(&["image", "exists", &reference]).status().context("cannot run podman")?;
        if exists.success() {
            run(&mut self.podman(&["rmi", "--force", &reference]))?;
        }
        match images.base(metric) {
            Some(base) => run(&mut self.pull(&base)).map(drop),
            None => Ok(()),
        }
    }

    fn pull(&self, reference: &str) -> Command {
        self.podman(&["pull", "--quiet", "--tls-verify=false", reference])
    }

    fn run_command(&self, words: &[&str]) -> Command {
        let mut command = self.podman(&RUN);
        command.args(words);
        command
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

    fn commands(&self, metric: Metric) -> Vec<Command> {
        vec![match metric {
            Metric::StartDefaultNetwork => self.run_command(&["--rm", "demo", "true"]),
            Metric::StartNoNetwork => self.run_command(&["--rm", "--network", "none", "demo", "true"]),
            Metric::Exec => self.podman(&["exec", "kept", "true"]),
            // -t 0: both tools kill at once.
            Metric::RemoveRunning => self.podman(&["rm", "-f", "-t", "0", "removed"]),
            Metric::ListHundred => self.podman(&["ps", "--all", "--format", "json"]),
            Metric::StartFifty => {
                return (0..FIFTY)
                    .map(|number| {
                        self.run_command(&["-d", "--name", &format!("many{number}"), "demo", "sleep", "1000"])
                    })
                    .collect();
            }
            Metric::OutputInLines | Metric::OutputInPages | Metric::OutputInBlocks => {
                let output = metric.output_command().unwrap_or_default();
                let words: Vec<&str> = output.iter().map(String::as_str).collect();
                self.run_command(&[&["--rm", "demo"], &*words].concat())
            }
            Metric::FolderRead
            | Metric::FolderWrite
            | Metric::FolderNames
            | Metric::FolderFind
            | Metric::FolderStatus
            | Metric::FillMemory
            | Metric::StartPrograms => {
                let script = folder_fixture::timed(metric.inner_script().unwrap_or_default());
                self.podman(&["exec", "sharing", "sh", "-c", &script])
            }
            Metric::PullLarge | Metric::PullFiles | Metric::PullChanged | Metric::Load => {
                let Some(images) = &self.images else { return Vec::new() };
                if metric == Metric::Load {
                    let mut command = self.podman(&["load", "--quiet", "-i"]);
                    command.arg(images.archive());
                    command
                } else {
                    self.pull(&images.reference(metric))
                }
            }
        }]
    }

    fn set_up(&self, metric: Metric) -> Result<()> {
        if metric.inner_script().is_some() {
            run(self.podman(&["load", "--quiet", "-i"]).arg(programs::archive()?))?;
            let shared = folder_fixture::make(&self.folder)?;
            let volume = format!("{}:/shared", shared.display());
            let words = ["-d", "--name", "sharing", "-v", &volume, programs::IMAGE, "sleep", "100000"];
            run(&mut self.run_command(&words))?;
        }
        if metric == Metric::FolderStatus {
            run(&mut self.inside("sharing", &folder_fixture::COMMIT))?;
        }
        if metric == Metric::ListHundred {
            for number in 0..HUNDRED {
                let mut command = self.podman(&CREATE);
                run(command.args(["--name", &format!("listed{number}"), "demo", "true"]))?;
            }
        }
        Ok(())
    }

    fn prepare(&self, metric: Metric) -> Result<()> {
        if metric == Metric::RemoveRunning {
            self.start_idle("removed")?;
        }
        if metric.is_about_images() {
            self.reset_images(metric)?;
        }
        Ok(())
    }

    fn clean_up(&self, metric: Metric) -> Result<()> {
        if metric == Metric::StartFifty {
            let running = run(&mut self.podman(&["ps", "--format", "{{.Names}}"]))?;
            let names: Vec<String> =
                running.lines().filter(|name| name.starts_with("many")).map(str::to_owned).collect();
            ensure!(names.len() == FIFTY, "only {} of {FIFTY} containers of podman run", names.len());
            self.remove(&names)?;
        }
        Ok(())
    }

    fn tear_down(&self, metric: Metric) -> Result<()> {
        if metric.inner_script().is_some() {
            self.remove(&["sharing".to_owned()])?;
        }
        if metric == Metric::ListHundred {
            self.remove(&(0..HUNDRED).map(|number| format!("listed{number}")).collect::<Vec<_>>())?;
        }
        if metric.is_about_images() {
            self.reset_images(metric)?;
        }
        Ok(())
    }

    fn start_idle(&self, name: &str) -> Result<()> {
        run(&mut self.run_command(&["-d", "--name", name, "demo", "sleep", "100000"])).map(drop)
    }

    fn start_servers(&self) -> Result<Published> {
        run(self.podman(&["load", "--quiet", "-i"]).arg(programs::archive()?))?;
        let published = Published::choose()?;
        let words = ["-d", "--name", network::CONTAINER];
        run(self.run_command(&words).args(published.flags()).arg(programs::IMAGE).args(network::SERVE))?;
        Ok(published)
    }

    fn inside(&self, name: &str, words: &[&str]) -> Command {
        let mut command = self.podman(&["exec", name]);
        command.args(words);
        command
    }

    fn remove(&self, names: &[String]) -> Result<()> {
        run(self.podman(&["rm", "-f", "-t", "0"]).args(names)).map(drop)
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

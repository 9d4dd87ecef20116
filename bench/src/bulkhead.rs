//! This project, with state of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use anyhow::{Context, Result, ensure};

use crate::image_fixture::ImageFixture;
use crate::metric::{FIFTY, HUNDRED, Metric};
use crate::network::{self, Published};
use crate::{Tool, folder_fixture, programs, run};

pub(crate) struct Bulkhead {
    tree: PathBuf,
    folder: PathBuf,
    images: Option<Rc<ImageFixture>>,
}

impl Bulkhead {
    /// Starts the services and loads the demo image.
    pub(crate) fn new(folder: &Path, images: Option<Rc<ImageFixture>>) -> Result<Self> {
        let tree = std::env::var_os("BULKHEAD_TEST_INSTALL_ROOT")
            .context("BULKHEAD_TEST_INSTALL_ROOT is not set: run `make bench`")?;
        let tool = Self { tree: tree.into(), folder: folder.join("b"), images };
        let archive = tool.tree.join("share/bulkhead/demo.tar");
        run(tool.container(&["image", "load", "-i"]).arg(archive))?;
        tool.start_idle("kept")?;
        Ok(tool)
    }

    /// Of the daemon that serves this state.
    pub(crate) fn apiserver_pid(&self) -> Result<u32> {
        let marker = format!("CONTAINER_RUNTIME_ROOT={}", self.folder.join("run").display());
        let entries = std::fs::read_dir("/proc").context("cannot read /proc")?;
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        pids.into_iter()
            .find(|pid| {
                let read = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
                String::from_utf8_lossy(&read("comm")).starts_with("container-apise")
                    && String::from_utf8_lossy(&read("environ")).contains(&marker)
            })
            .context("the apiserver does not run")
    }

    /// Removes the image of a metric with its content, and pulls what a sample starts from.
    fn reset_images(&self, metric: Metric) -> Result<()> {
        let Some(images) = &self.images else { return Ok(()) };
        run(&mut self.container(&["image", "delete", "--force", &images.reference(metric)]))?;
        run(&mut self.container(&["image", "prune"]))?;
        match images.base(metric) {
            Some(base) => run(&mut self.container(&["image", "pull", &base])).map(drop),
            None => Ok(()),
        }
    }

    fn container(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.tree.join("bin/container"));
        command
            .args(words)
            .env("CONTAINER_INSTALL_ROOT", &self.tree)
            .env("CONTAINER_APP_ROOT", self.folder.join("app"))
            .env("CONTAINER_LOG_ROOT", self.folder.join("log"))
            .env("CONTAINER_RUNTIME_ROOT", self.folder.join("run"))
            .env("XDG_CONFIG_HOME", self.folder.join("etc"));
        command
    }
}

impl Tool for Bulkhead {
    fn name(&self) -> &'static str {
        "bulkhead"
    }

    fn commands(&self, metric: Metric) -> Vec<Command> {
        vec![match metric {
            Metric::StartDefaultNetwork => self.container(&["run", "--rm", "demo", "true"]),
            Metric::StartNoNetwork => self.container(&["run", "--rm", "--network", "none", "demo", "true"]),
            Metric::Exec => self.container(&["exec", "kept", "true"]),
            Metric::RemoveRunning => self.container(&["rm", "-f", "removed"]),
            Metric::ListHundred => self.container(&["list", "--all", "--format", "json"]),
            Metric::StartFifty => {
                return (0..FIFTY)
                    .map(|number| {
                        let name = format!("many{number}");
                        self.container(&[
                            "run", "-d", "--name", &name, "--memory", "200m", "demo", "sleep", "1000",
                        ])
                    })
                    .collect();
            }
            Metric::OutputInLines | Metric::OutputInPages | Metric::OutputInBlocks => {
                let output = metric.output_command().unwrap_or_default();
                let words: Vec<&str> = output.iter().map(String::as_str).collect();
                self.container(&[&["run", "--rm", "demo"], &*words].concat())
            }
            Metric::FolderRead
            | Metric::FolderWrite
            | Metric::FolderNames
            | Metric::FolderFind
            | Metric::FolderStatus
            | Metric::FillMemory
            | Metric::StartPrograms => {
                let script = folder_fixture::timed(metric.inner_script().unwrap_or_default());
                self.container(&["exec", "sharing", "sh", "-c", &script])
            }
            Metric::PullLarge | Metric::PullFiles | Metric::PullChanged | Metric::Load => {
                let Some(images) = &self.images else { return Vec::new() };
                if metric == Metric::Load {
                    let mut command = self.container(&["image", "load", "-i"]);
                    command.arg(images.archive());
                    command
                } else {
                    self.container(&["image", "pull", &images.reference(metric)])
                }
            }
        }]
    }

    fn set_up(&self, metric: Metric) -> Result<()> {
        if metric.inner_script().is_some() {
            run(self.container(&["image", "load", "-i"]).arg(programs::archive()?))?;
            let shared = folder_fixture::make(&self.folder)?;
            let volume = format!("{}:/shared", shared.display());
            let words = ["run", "-d", "--name", "sharing", "-v", &volume, programs::IMAGE, "sleep", "100000"];
            run(&mut self.container(&words))?;
        }
        if metric == Metric::FolderStatus {
            run(&mut self.inside("sharing", &folder_fixture::COMMIT))?;
        }
        if metric == Metric::ListHundred {
            for number in 0..HUNDRED {
                run(&mut self.container(&["create", "--name", &format!("listed{number}"), "demo", "true"]))?;
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
            let running = run(&mut self.container(&["list", "--quiet"]))?;
            let names: Vec<String> =
                running.lines().filter(|name| name.starts_with("many")).map(str::to_owned).collect();
            ensure!(names.len() == FIFTY, "only {} of {FIFTY} containers run", names.len());
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
        run(&mut self.container(&["run", "-d", "--name", name, "demo", "sleep", "100000"])).map(drop)
    }

    fn start_servers(&self) -> Result<Published> {
        run(self.container(&["image", "load", "-i"]).arg(programs::archive()?))?;
        let published = Published::choose()?;
        let words = ["run", "-d", "--name", network::CONTAINER];
        run(self.container(&words).args(published.flags()).arg(programs::IMAGE).args(network::SERVE))?;
        Ok(published)
    }

    fn inside(&self, name: &str, words: &[&str]) -> Command {
        let mut command = self.container(&["exec", name]);
        command.args(words);
        command
    }

    fn remove(&self, names: &[String]) -> Result<()> {
        run(self.container(&["rm", "-f"]).args(names)).map(drop)
    }
}

impl Drop for Bulkhead {
    fn drop(&mut self) {
        if let Err(error) = run(&mut self.container(&["system", "stop"])) {
            println!("cannot stop the services: {error:#}");
        }
    }
}

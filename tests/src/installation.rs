//! A Bulkhead of its own.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::processes::{Process, begun, processes_of};
use crate::{Outcome, OwnHost, run_with_deadline, wait_until};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// One installation with state, sockets and daemons of its own.
#[derive(Debug)]
pub struct Installation {
    folder: PathBuf,
    tree: PathBuf,
    /// Of the user of a host of its own.
    host: Option<OwnHost>,
}

impl Installation {
    /// Makes an empty one; its services start with the first command.
    ///
    /// # Panics
    /// The programs are not built.
    #[must_use]
    pub fn new() -> Self {
        let tree = install_tree();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("bh-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).expect("folder of the installation");
        Self { folder, tree, host: None }
    }

    /// One of the user of a host of its own, with `demo:latest`.
    ///
    /// # Panics
    /// As [`Self::new`]
    #[must_use]
    pub fn of_ordinary_user(host: OwnHost) -> Self {
        let mut installation = Self::new();
        // The checkout may be nobody else's business.
        let tree = installation.folder.join("install");
        fs::create_dir(&tree).expect("folder of the programs");
        fs::set_permissions(&tree, fs::Permissions::from_mode(0o755)).expect("mode of a folder");
        host.bind(installation.tree.clone(), tree.clone());
        chown(&installation.folder, Some(host.user()), Some(host.user())).expect("owner of a folder");
        installation.tree = tree;
        installation.host = Some(host);
        installation.load(&installation.demo_archive());
        installation
    }

    /// The host of its own.
    ///
    /// # Panics
    /// It has none of its own.
    #[must_use]
    pub fn host(&self) -> &OwnHost {
        self.host.as_ref().expect("a host of its own")
    }

    /// One that already has `demo:latest`.
    #[must_use]
    pub fn with_demo() -> Self {
        let installation = Self::new();
        installation.load(&installation.demo_archive());
        installation
    }

    /// One that already has `debian:test`.
    #[must_use]
    pub fn with_debian() -> Self {
        let installation = Self::new();
        installation.load(&installation.debian_archive());
        installation
    }

    /// The archive of `debian:test`.
    ///
    /// # Panics
    /// The environment does not name it.
    #[must_use]
    pub fn debian_archive(&self) -> PathBuf {
        env::var_os("BULKHEAD_TEST_DEBIAN_IMAGE")
            .map(PathBuf::from)
            .expect("BULKHEAD_TEST_DEBIAN_IMAGE is not set: run the tests with `make test`")
    }

    /// The archive of `foreign:test`, which has nothing for this machine.
    ///
    /// # Panics
    /// The environment does not name it.
    #[must_use]
    pub fn foreign_archive(&self) -> PathBuf {
        env::var_os("BULKHEAD_TEST_FOREIGN_IMAGE")
            .map(PathBuf::from)
            .expect("BULKHEAD_TEST_FOREIGN_IMAGE is not set: run the tests with `make test`")
    }

    /// The archive of `demo:latest`.
    #[must_use]
    pub fn demo_archive(&self) -> PathBuf {
        self.tree.join("share/bulkhead/demo.tar")
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes the user's configuration file, which counts from the next start of the services.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn configure(&self, text: &str) {
        let folder = self.folder.join("etc/container");
        fs::create_dir_all(&folder).expect("folder of the configuration");
        fs::write(folder.join("config.toml"), text).expect("configuration file");
    }

    /// Where the container's disk, logs and exit status are.
    #[must_use]
    pub fn container_directory(&self, id: &str) -> PathBuf {
        self.folder.join("app/containers").join(id)
    }

    /// Loads an image archive.
    #[track_caller]
    pub fn load(&self, archive: &Path) {
        let archive = archive.to_str().expect("path in UTF-8");
        self.run_ok(&["image", "load", "-i", archive]);
    }

    /// The command as a user types it.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let program = self.tree.join("bin/container");
        let mut command = match &self.host {
            Some(host) => host.command(&program),
            None => Command::new(program),
        };
        command
            .args(arguments)
            .env("CONTAINER_INSTALL_ROOT", &self.tree)
            .env("CONTAINER_APP_ROOT", self.folder.join("app"))
            .env("CONTAINER_LOG_ROOT", self.folder.join("log"))
            .env("CONTAINER_RUNTIME_ROOT", self.folder.join("run"))
            .env("XDG_CONFIG_HOME", self.folder.join("etc"))
            .env_remove("CONTAINER_DEFAULT_PLATFORM");
        command
    }

    /// Starts the services anew with as many descriptors for each of their processes.
    #[track_caller]
    pub fn restart_services_with_descriptors(&self, count: u32) {
        self.run_ok(&["system", "stop"]);
        let command = self.command(&["system", "start"]);
        let mut limited = Command::new("prlimit");
        limited.arg(format!("--nofile={count}:{count}")).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => limited.env(name, value),
                None => limited.env_remove(name),
            };
        }
        let _ = run_with_deadline(&mut limited, b"").expect_code(0);
    }

    /// Runs a command without input.
    #[track_caller]
    #[must_use]
    pub fn container(&self, arguments: &[&str]) -> Outcome {
        self.container_with_input(arguments, b"")
    }

    /// Runs a command with bytes on its stdin.
    #[track_caller]
    #[must_use]
    pub fn container_with_input(&self, arguments: &[&str], input: &[u8]) -> Outcome {
        run_with_deadline(&mut self.command(arguments), input)
    }

    /// Runs a command that must succeed; returns its trimmed stdout.
    #[track_caller]
    pub fn run_ok(&self, arguments: &[&str]) -> String {
        let outcome = self.container(arguments);
        assert_eq!(outcome.code, 0, "container {arguments:?} failed: {outcome:?}");
        outcome.text().trim_end().to_owned()
    }

    /// `inspect` of one container.
    #[track_caller]
    #[must_use]
    pub fn snapshot(&self, id: &str) -> Value {
        let mut all: Value = serde_json::from_str(&self.run_ok(&["inspect", id])).expect("JSON");
        all[0].take()
    }

    /// State of one container.
    #[track_caller]
    #[must_use]
    pub fn state(&self, id: &str) -> String {
        self.snapshot(id)["status"]["state"].as_str().expect("state").to_owned()
    }

    /// Waits for a container to stop and returns its exit code.
    #[track_caller]
    #[must_use]
    pub fn wait_for_exit(&self, id: &str) -> i64 {
        wait_until(&format!("exit of {id}"), || self.state(id) == "stopped");
        self.snapshot(id)["status"]["exitCode"].as_i64().expect("exit code")
    }

    /// Ids of all containers, running or not.
    #[track_caller]
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        self.run_ok(&["list", "--all", "--quiet"]).lines().map(str::to_owned).collect()
    }

    /// Process ids of the installation's programs of this name.
    #[must_use]
    pub fn pids(&self, program: &str) -> Vec<i32> {
        let marker = format!("CONTAINER_RUNTIME_ROOT={}", self.folder.join("run").display());
        begun(processes_of(&marker))
            .into_iter()
            .filter(|process| process.command.split(' ').next().is_some_and(|path| path.ends_with(program)))
            .map(|process| process.pid)
            .collect()
    }

    /// Process ids of the servers of folders, each of which is a child of its waiter and has its command line.
    #[must_use]
    pub fn file_servers(&self) -> Vec<i32> {
        let waiters = self.pids("container-virtiofs");
        let marker = format!("CONTAINER_RUNTIME_ROOT={}", self.folder.join("run").display());
        let servers = processes_of(&marker).into_iter().filter(|process| waiters.contains(&process.parent));
        servers.map(|process| process.pid).collect()
    }

    /// All processes of the installation, with those of its clients.
    #[must_use]
    pub fn processes(&self) -> Vec<Process> {
        // With what separates the folder from that of the tenth.
        processes_of(&format!("{}/", self.folder.display()))
    }

    /// Sends SIGKILL to a process of this installation.
    pub fn kill(&self, pid: i32) {
        let pid = Pid::from_raw(pid).expect("process id");
        kill_process(pid, Signal::KILL).expect("kill");
    }

    /// What is in the containers' directory: a removed container must leave nothing. Its files go in the
    /// background, so what is on its way out gets a moment.
    #[must_use]
    pub fn container_leftovers(&self) -> Vec<PathBuf> {
        let entries = || -> Vec<PathBuf> {
            fs::read_dir(self.folder.join("app/containers"))
                .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
                .unwrap_or_default()
        };
        let is_going = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".trash-"))
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        while entries().iter().any(is_going) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        entries()
    }
}

impl Default for Installation {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        let stopped = run_with_deadline(&mut self.command(&["system", "stop"]), b"");
        let mut left = self.processes();
        for _ in 0..500 {
            if left.is_empty() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
            left = self.processes();
        }
        for process in &left {
            self.kill(process.pid);
        }
        if thread::panicking() {
            eprintln!("consoles, logs and state of the failed test: {}", self.folder.display());
            return;
        }
        assert!(left.is_empty(), "processes left behind: {left:?}; {stopped:?}");
        fs::remove_dir_all(&self.folder).expect("folder of the installation can be removed");
    }
}

fn install_tree() -> PathBuf {
    let tree = env::var_os("BULKHEAD_TEST_INSTALL_ROOT")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../.bulkhead"), PathBuf::from);
    fs::canonicalize(&tree)
        .unwrap_or_else(|_| panic!("{} is missing: build it with `make build`", tree.display()))
}

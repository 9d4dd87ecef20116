//! The directories of one installation and of one container.

use std::env;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::container::{ContainerDirectories, short_name};
use crate::environment;

/// `sun_path` of sockaddr_un holds 108 bytes with its terminator, unix(7).
const MAXIMUM_SOCKET_PATH_BYTES: usize = 107;
/// Below the runtime root, a directory for each machine that runs.
const MACHINES: &str = "c";
/// The longest name that is put below the runtime root.
const LONGEST_SOCKET_SUFFIX: &str = "/c/0123456789abcdef/image.sock";

/// Why the directories cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PathsError {
    /// No variable says where to put files.
    #[error("cannot tell where to keep {what}: set {variables} to an absolute path")]
    Unset {
        /// What is to be kept there.
        what: &'static str,
        /// Variables that would tell.
        variables: String,
    },
    /// A relative path in an environment variable or flag.
    #[error("{variable} must be an absolute path, not '{}'", path.display())]
    Relative {
        /// The variable.
        variable: &'static str,
        /// Its value.
        path: PathBuf,
    },
    /// Sockets below the runtime root would not fit into an address.
    #[error(
        "runtime directory '{}' is too long for socket addresses: set {} to a shorter path",
        path.display(),
        environment::RUNTIME_ROOT
    )]
    SocketPathTooLong {
        /// The runtime root.
        path: PathBuf,
    },
    /// mkdir(2) or stat(2) failed.
    #[error("cannot create directory '{}'", path.display())]
    Create {
        /// The directory.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The directory belongs to somebody else or is no directory.
    #[error("'{}' is not a directory owned by this user", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// /proc/self/exe cannot be read.
    #[error("cannot find the installation: set {}", environment::INSTALL_ROOT)]
    Executable(#[source] io::Error),
}

/// The directories of one installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directories {
    /// Durable: images, containers, state.
    pub app_root: PathBuf,
    /// Programs, kernel and initramfs.
    pub install_root: PathBuf,
    /// Logs of the daemons.
    pub log_root: PathBuf,
    /// Sockets and locks; gone after a reboot.
    pub runtime_root: PathBuf,
}

impl Directories {
    /// Reads the environment; creates nothing.
    ///
    /// # Errors
    /// A value is missing, relative, or too long for socket addresses.
    pub fn from_environment() -> Result<Self, PathsError> {
        let root = rustix::process::geteuid().is_root();
        let directories = Self {
            app_root: pick(
                environment::APP_ROOT,
                "images and containers",
                root.then_some("/var/lib/bulkhead"),
                &[("XDG_DATA_HOME", ""), ("HOME", ".local/share")],
            )?,
            install_root: match absolute(environment::INSTALL_ROOT)? {
                Some(path) => path,
                None => install_root_of_executable()?,
            },
            log_root: pick(
                environment::LOG_ROOT,
                "logs",
                root.then_some("/var/log/bulkhead"),
                &[("XDG_STATE_HOME", ""), ("HOME", ".local/state")],
            )?,
            runtime_root: match pick(
                environment::RUNTIME_ROOT,
                "sockets",
                root.then_some("/run/bulkhead"),
                &[("XDG_RUNTIME_DIR", "")],
            ) {
                Err(error @ PathsError::Unset { .. }) => {
                    login_directory(Path::new("/run/user")).ok_or(error)?
                }
                outcome => outcome?,
            },
        };
        let longest = directories.runtime_root.as_os_str().len() + LONGEST_SOCKET_SUFFIX.len();
        if longest > MAXIMUM_SOCKET_PATH_BYTES {
            return Err(PathsError::SocketPathTooLong { path: directories.runtime_root });
        }
        Ok(directories)
    }

    /// Creates the writable directories with mode 0700 and checks their owner.
    ///
    /// # Errors
    /// [`PathsError::Create`], [`PathsError::Foreign`]
    pub fn create(&self) -> Result<(), PathsError> {
        for path in [&self.app_root, &self.log_root, &self.runtime_root, &self.containers()] {
            create_private(path)?;
        }
        Ok(())
    }

    /// The environment that makes a child process use the same directories.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, OsString); 4] {
        [
            (environment::APP_ROOT, self.app_root.clone().into()),
            (environment::INSTALL_ROOT, self.install_root.clone().into()),
            (environment::LOG_ROOT, self.log_root.clone().into()),
            (environment::RUNTIME_ROOT, self.runtime_root.clone().into()),
        ]
    }

    /// Socket of the apiserver's HTTP interface.
    #[must_use]
    pub fn api_socket(&self) -> PathBuf {
        self.runtime_root.join("api.sock")
    }

    /// Locked (flock) by the one apiserver of the app root.
    #[must_use]
    pub fn api_lock(&self) -> PathBuf {
        self.app_root.join("apiserver.lock")
    }

    /// Control socket of container-network.
    #[must_use]
    pub fn network_socket(&self) -> PathBuf {
        self.runtime_root.join("network.sock")
    }

    /// Where container-network keeps its network namespace.
    #[must_use]
    pub fn network_namespace(&self) -> PathBuf {
        self.runtime_root.join("network.ns")
    }

    /// Whether services run, or ended without taking away what they had: sockets, a network, machines.
    #[must_use]
    pub fn has_traces(&self) -> bool {
        let left = [self.api_socket(), self.network_socket(), self.network_namespace()];
        let machines = fs::read_dir(self.runtime_root.join(MACHINES)).ok();
        left.iter().any(|path| path.symlink_metadata().is_ok())
            || machines.is_some_and(|mut machines| machines.next().is_some())
    }

    /// The SQLite database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.app_root.join("state.sqlite")
    }

    /// The image store.
    #[must_use]
    pub fn images(&self) -> PathBuf {
        self.app_root.join("images")
    }

    /// Logins at registries, mode 0600.
    #[must_use]
    pub fn registry_logins(&self) -> PathBuf {
        self.app_root.join("registry-logins.json")
    }

    /// Parent of the containers' directories.
    #[must_use]
    pub fn containers(&self) -> PathBuf {
        self.app_root.join("containers")
    }

    /// Parent of the volumes' directories.
    #[must_use]
    pub fn volumes(&self) -> PathBuf {
        self.app_root.join("volumes")
    }

    /// The disk of the volume with this name, which must have been validated: it becomes one path
    /// component.
    #[must_use]
    pub fn volume_disk(&self, name: &str) -> PathBuf {
        self.volumes().join(name).join("volume.img")
    }

    /// The directory that is a shared volume; its name must have been validated.
    #[must_use]
    pub fn volume_content(&self, name: &str) -> PathBuf {
        self.volumes().join(name).join("content")
    }

    /// There once the volume holds something; its name must have been validated.
    #[must_use]
    pub fn volume_filled(&self, name: &str) -> PathBuf {
        self.volumes().join(name).join("filled")
    }

    /// Locked by whoever fills a shared volume; its name must have been validated.
    #[must_use]
    pub fn volume_filling_lock(&self, name: &str) -> PathBuf {
        self.volumes().join(name).join("filling.lock")
    }

    /// Formatted, empty disks that new containers start from.
    #[must_use]
    pub fn disk_templates(&self) -> PathBuf {
        self.app_root.join("templates")
    }

    /// One of our daemons or helpers.
    #[must_use]
    pub fn helper(&self, name: &str) -> PathBuf {
        self.install_root.join("libexec/bulkhead").join(name)
    }

    /// Kernel of the User-Mode Linux backend.
    #[must_use]
    pub fn uml_kernel(&self) -> PathBuf {
        self.install_root.join("share/bulkhead/kernel-uml")
    }

    /// The initramfs with vminitd.
    #[must_use]
    pub fn initial_ramdisk(&self) -> PathBuf {
        self.install_root.join("share/bulkhead/initramfs.cpio")
    }

    /// Emulators of other architectures, each an EROFS image `ARCHITECTURE.erofs`.
    #[must_use]
    pub fn emulators(&self) -> PathBuf {
        self.install_root.join("share/bulkhead/emulators")
    }

    /// The user's configuration file, where the environment tells.
    #[must_use]
    pub fn user_configuration() -> Option<PathBuf> {
        [("XDG_CONFIG_HOME", ""), ("HOME", ".config")]
            .into_iter()
            .filter_map(|(name, below)| Some(PathBuf::from(env::var_os(name)?).join(below)))
            .find(|path| path.is_absolute())
            .map(|path| path.join("container/config.toml"))
    }

    /// The user's configuration file as it was when the apiserver started.
    #[must_use]
    pub fn configuration_copy(&self) -> PathBuf {
        self.app_root.join("config/config.toml")
    }

    /// The configuration file of the installation.
    #[must_use]
    pub fn installed_configuration(&self) -> PathBuf {
        self.install_root.join("etc/container/config.toml")
    }

    /// The directories of the container with this id, which must have been validated: it becomes
    /// one path component.
    #[must_use]
    pub fn container(&self, id: &str) -> ContainerDirectories {
        ContainerDirectories {
            durable: self.containers().join(id),
            runtime: self.runtime_root.join(MACHINES).join(short_name(id)),
        }
    }
}

pub(crate) fn create_private(path: &Path) -> Result<(), PathsError> {
    let create = |source| PathsError::Create { path: path.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(create)?;
    let metadata: Metadata = std::fs::symlink_metadata(path).map_err(create)?;
    if metadata.is_dir() && metadata.uid() == rustix::process::geteuid().as_raw() {
        Ok(())
    } else {
        Err(PathsError::Foreign { path: path.to_owned() })
    }
}

fn absolute(variable: &'static str) -> Result<Option<PathBuf>, PathsError> {
    match env::var_os(variable).map(PathBuf::from) {
        Some(path) if path.as_os_str().is_empty() => Ok(None),
        Some(path) if path.is_relative() => Err(PathsError::Relative { variable, path }),
        other => Ok(other),
    }
}

/// Our own variable, else the fixed path, else the first XDG variable that is absolute (the XDG
/// base directory specification says to ignore relative ones).
fn pick(
    variable: &'static str,
    what: &'static str,
    fixed: Option<&str>,
    fallbacks: &[(&str, &str)],
) -> Result<PathBuf, PathsError> {
    if let Some(path) = absolute(variable)? {
        return Ok(path);
    }
    if let Some(path) = fixed {
        return Ok(path.into());
    }
    fallbacks
        .iter()
        .filter_map(|(name, below)| Some(PathBuf::from(env::var_os(name)?).join(below).join("bulkhead")))
        .find(|path| path.is_absolute())
        .ok_or_else(|| PathsError::Unset {
            what,
            variables: [fallbacks.last().map_or("", |(name, _)| *name), variable].join(" or "),
        })
}

/// Below what `XDG_RUNTIME_DIR` of a login would be (pam_systemd(8)), for those who came by su, cron or ssh without
/// one; `parent` has those of all users.
fn login_directory(parent: &Path) -> Option<PathBuf> {
    let user = rustix::process::geteuid();
    let path = parent.join(user.as_raw().to_string());
    let metadata = std::fs::symlink_metadata(&path).ok()?;
    (metadata.is_dir() && metadata.uid() == user.as_raw()).then(|| path.join("bulkhead"))
}

/// `<root>/bin/container` and `<root>/libexec/bulkhead/<helper>` both lead to `<root>`.
fn install_root_of_executable() -> Result<PathBuf, PathsError> {
    let executable = env::current_exe().map_err(PathsError::Executable)?;
    let folder = executable.parent().unwrap_or(Path::new("/"));
    let levels = if folder.ends_with("libexec/bulkhead") { 2 } else { 1 };
    Ok(folder.ancestors().nth(levels).unwrap_or(Path::new("/")).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_container_id_still_gives_a_socket_address() {
        let directories = Directories {
            app_root: "/a".into(),
            install_root: "/i".into(),
            log_root: "/l".into(),
            runtime_root: "/run/user/1000/bulkhead".into(),
        };
        let socket = directories.container(&"x".repeat(63)).control_socket();
        assert!(socket.as_os_str().len() <= MAXIMUM_SOCKET_PATH_BYTES);
    }

    #[test]
    fn a_login_has_a_directory_that_is_its_own() {
        let parent = std::env::temp_dir().join(format!("bulkhead-logins-{}", std::process::id()));
        let own = parent.join(rustix::process::geteuid().as_raw().to_string());
        let absent = login_directory(&parent);
        std::fs::create_dir_all(&parent).unwrap();
        std::os::unix::fs::symlink("/", &own).unwrap();
        let linked = login_directory(&parent);
        std::fs::remove_file(&own).unwrap();
        std::fs::create_dir(&own).unwrap();
        let found = login_directory(&parent);
        std::fs::remove_dir_all(&parent).unwrap();
        assert_eq!((absent, linked, found), (None, None, Some(own.join("bulkhead"))));
    }

    #[test]
    fn directories_of_others_are_refused() {
        let folder = std::env::temp_dir().join(format!("bulkhead-paths-{}", std::process::id()));
        std::os::unix::fs::symlink("/", &folder).unwrap();
        let result = create_private(&folder);
        std::fs::remove_file(&folder).unwrap();
        assert!(matches!(result, Err(PathsError::Foreign { .. })));
    }
}

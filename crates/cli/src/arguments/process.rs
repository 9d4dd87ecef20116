//! What a process gets.

use std::path::PathBuf;

use bulkhead_api::process::{ResourceLimit, User};
use clap::Args;

use crate::values::paths::WorkingDirectory;
use crate::values::{InvalidValue, environment_file, resource_limit};

/// Flags of a process.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "PROCESS OPTIONS")]
pub(crate) struct ProcessFlags {
    /// Set an environment variable; a bare key copies the value of this environment
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    env: Vec<String>,

    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,

    /// Group id of the process
    #[arg(long, value_name = "GID")]
    gid: Option<u32>,

    /// Keep stdin open and pass it on
    #[arg(short, long)]
    pub(crate) interactive: bool,

    /// Give the process a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,

    /// User of the process
    #[arg(short, long, value_name = "NAME|UID[:GID]", conflicts_with_all = ["uid", "gid"])]
    user: Option<String>,

    /// User id of the process
    #[arg(long, value_name = "UID")]
    uid: Option<u32>,

    /// Working directory of the process
    #[arg(short, long, visible_alias = "cwd", value_name = "DIRECTORY")]
    workdir: Option<WorkingDirectory>,

    /// Limit a resource; one flag for each type
    #[arg(long, value_name = "TYPE=SOFT[:HARD]")]
    ulimit: Vec<resource_limit::Ulimit>,
}

impl ProcessFlags {
    /// Files first, then flags: later ones win.
    pub(crate) fn environment(&self) -> Result<Vec<String>, InvalidValue> {
        let mut variables = Vec::new();
        for file in &self.env_file {
            variables.extend(environment_file::read(file)?);
        }
        for text in &self.env {
            variables.extend(environment_file::resolve(text)?);
        }
        Ok(variables)
    }

    pub(crate) fn working_directory(&self) -> Option<String> {
        self.workdir.clone().and_then(WorkingDirectory::into_path)
    }

    pub(crate) fn user(&self) -> Option<User> {
        match (&self.user, self.uid, self.gid) {
            (Some(user), _, _) => Some(User::Raw { user_string: user.clone() }),
            (None, Some(uid), Some(gid)) => Some(User::Id { uid, gid }),
            // The group then comes from the image's passwd file.
            (None, Some(uid), None) => Some(User::Raw { user_string: uid.to_string() }),
            (None, None, _) => None,
        }
    }

    /// A group id alone leaves the user as it is and is one more of its groups.
    pub(crate) fn group(&self) -> Option<String> {
        self.gid.filter(|_| self.uid.is_none()).map(|gid| gid.to_string())
    }

    pub(crate) fn limits(&self) -> Result<Vec<ResourceLimit>, InvalidValue> {
        resource_limit::resolve(&self.ulimit)
    }
}

//! Sockets between host and container: published ones and the user's SSH agent.

use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use bulkhead_api::container::{ContainerConfiguration, PublishedSocket};
use bulkhead_api::error::ApiError;
use bulkhead_runtime_control::{HostSocket, HostSocketSource, SocketPublication};

use super::paths;
use crate::error::{exists, invalid};

/// Where the agent appears; Apple's `container` has it at the same place.
const AGENT_PATH: &str = "/var/host-services/ssh-auth.sock";
/// What ssh(1) finds it by.
pub(crate) const AGENT_VARIABLE: &str = "SSH_AUTH_SOCK";
/// `sun_path` without its terminator, unix(7).
const MAXIMUM_PATH_BYTES: usize = 107;
const DEFAULT_PERMISSIONS: u32 = 0o600;
const MAXIMUM_COUNT: usize = 64;

/// Checks what is to be published.
pub(crate) fn validate(sockets: &[PublishedSocket]) -> Result<(), ApiError> {
    if sockets.len() > MAXIMUM_COUNT {
        return Err(invalid(format!("at most {MAXIMUM_COUNT} sockets can be published")));
    }
    for (index, socket) in sockets.iter().enumerate() {
        let host = &socket.host_path;
        for path in [host, &socket.container_path] {
            paths::absolute(path)?;
            if path.len() > MAXIMUM_PATH_BYTES || path.ends_with('/') {
                return Err(invalid(format!(
                    "'{}' cannot be the path of a socket: it has at most {MAXIMUM_PATH_BYTES} bytes and no \
                     slash at its end",
                    path.escape_default()
                )));
            }
        }
        if socket.permissions.is_some_and(|mode| mode > 0o777) {
            return Err(invalid(format!("the mode of socket '{}' is not one", host.escape_default())));
        }
        if sockets[..index].iter().any(|earlier| earlier.host_path == *host) {
            return Err(invalid(format!("socket '{}' is published twice", host.escape_default())));
        }
        refuse_existing(Path::new(host))?;
    }
    Ok(())
}

/// Whatever is there belongs to somebody else.
fn refuse_existing(path: &Path) -> Result<(), ApiError> {
    let shown = path.display().to_string().escape_default().to_string();
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => {
            Err(exists(format!("'{shown}' is the socket of somebody else: publish to another path")))
        }
        Ok(_) => Err(exists(format!("there is a file at '{shown}': publish to another path"))),
        // The helper will say what is wrong with the path, if anything is.
        Err(_) => Ok(()),
    }
}

/// As the helper gets them.
pub(crate) fn publications(configuration: &ContainerConfiguration) -> Vec<SocketPublication> {
    let publication = |socket: &PublishedSocket| SocketPublication {
        host_path: PathBuf::from(&socket.host_path),
        container_path: socket.container_path.clone(),
        permissions: socket.permissions.unwrap_or(DEFAULT_PERMISSIONS),
    };
    configuration.published_sockets.iter().map(publication).collect()
}

/// Checks the path of the user's agent. Whether somebody listens there is found out by each connection.
pub(crate) fn validate_agent(socket: Option<&str>) -> Result<(), ApiError> {
    socket.map_or(Ok(()), paths::absolute)
}

/// The agent of a container that was created with `ssh`.
pub(crate) fn agent(configuration: &ContainerConfiguration, socket: Option<&str>) -> Option<HostSocket> {
    configuration.ssh.then(|| HostSocket {
        container_path: AGENT_PATH.to_owned(),
        source: HostSocketSource::Agent(socket.map(PathBuf::from)),
    })
}

/// Tells the container's programs where the agent is, unless the user or the image did.
pub(crate) fn announce_agent(environment: &mut Vec<String>) {
    let known = |variable: &String| variable.split('=').next() == Some(AGENT_VARIABLE);
    if !environment.iter().any(known) {
        environment.push(format!("{AGENT_VARIABLE}={AGENT_PATH}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(host: &str, container: &str) -> PublishedSocket {
        PublishedSocket {
            host_path: host.to_owned(),
            container_path: container.to_owned(),
            permissions: None,
        }
    }

    #[test]
    fn what_cannot_be_a_new_socket_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let _listener = std::os::unix::net::UnixListener::bind(path("taken")).unwrap();
        std::fs::write(path("file"), b"").unwrap();
        let long = format!("/{}", "x".repeat(107));
        for (host, container) in [
            (&*path("taken"), "/a"),
            (&path("file"), "/a"),
            ("a", "/a"),
            ("/a", "a"),
            (&long, "/a"),
            ("/a/", "/a"),
        ] {
            assert!(validate(&[socket(host, container)]).is_err(), "{host} {container}");
        }
        let free = path("free");
        assert!(validate(&[socket(&free, "/a")]).is_ok());
        assert!(validate(&[socket(&free, "/a"), socket(&free, "/b")]).is_err());
    }

    #[test]
    fn the_users_own_variable_is_kept() {
        let mut environment = vec!["SSH_AUTH_SOCK=/mine".to_owned()];
        announce_agent(&mut environment);
        assert_eq!(environment, ["SSH_AUTH_SOCK=/mine"]);
        environment.clear();
        announce_agent(&mut environment);
        assert_eq!(environment, ["SSH_AUTH_SOCK=/var/host-services/ssh-auth.sock"]);
    }
}

//! Sockets of the host that the container may connect to.
//!
//! Where a server leaves its directory and comes back, its socket is another one of the same name; so the
//! name is looked up at each connection, in a directory that was looked up once. A guest that may write in
//! that directory could give the name to another socket: then it stays the socket of the beginning.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use bulkhead_guest_protocol::messages as guest;
use bulkhead_runtime_control::{HostSocket as Specification, HostSocketSource, SharedFolder};
use rustix::fs::{FileType, fstat};
use rustix::process::{getegid, geteuid};

use crate::source::{self, Source, open_path};

/// Of the agent's socket: whoever the container's process is, the machine is its alone.
const AGENT_MODE: u32 = 0o666;
/// Who has no number in the container, user_namespaces(7).
const OVERFLOW_ID: u32 = 65534;

/// One socket, opened.
#[derive(Debug)]
pub(crate) struct HostSocket {
    /// As the user named it.
    path: PathBuf,
    place: Place,
    /// What the guest is told.
    message: guest::HostSocket,
}

#[derive(Debug)]
enum Place {
    /// Nobody listens.
    Nowhere,
    /// `path` as it is then.
    Path,
    Name {
        directory: OwnedFd,
        name: OsString,
    },
    Fixed(OwnedFd),
}

/// Looks up all of them.
///
/// # Errors
/// One is not there, or is no socket.
pub(crate) fn open(sockets: &[Specification], folders: &[SharedFolder]) -> Result<Vec<HostSocket>> {
    sockets.iter().map(|socket| HostSocket::open(socket, folders)).collect()
}

impl HostSocket {
    fn open(socket: &Specification, folders: &[SharedFolder]) -> Result<Self> {
        let path = socket.container_path.clone();
        match &socket.source {
            HostSocketSource::Agent(source) => Ok(Self {
                place: if source.is_some() { Place::Path } else { Place::Nowhere },
                path: source.clone().unwrap_or_default(),
                message: guest::HostSocket { path, mode: AGENT_MODE, user_id: 0, group_id: 0 },
            }),
            HostSocketSource::Mount(source) => Self::mount(source, path, folders)
                .with_context(|| format!("cannot share the socket '{}'", source.display())),
        }
    }

    fn mount(source: &Path, container_path: String, folders: &[SharedFolder]) -> Result<Self> {
        let Source { file, directory, name, is_in_guests_hands } = source::look_up(source, folders)?;
        let name = name.context("it is no socket")?;
        let status = fstat(&file).context("it cannot be examined")?;
        ensure!(is_socket(&status), "it has just been replaced");
        let message = guest::HostSocket {
            path: container_path,
            mode: status.st_mode & 0o777,
            user_id: id_in_container(status.st_uid, geteuid().as_raw()),
            group_id: id_in_container(status.st_gid, getegid().as_raw()),
        };
        let place = match is_in_guests_hands {
            true => Place::Fixed(file),
            false => Place::Name { directory, name },
        };
        Ok(Self { path: source.to_owned(), place, message })
    }

    /// For `Start`.
    pub(crate) fn message(&self) -> guest::HostSocket {
        self.message.clone()
    }

    /// For messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is somebody to connect to.
    pub(crate) fn is_somewhere(&self) -> bool {
        !matches!(self.place, Place::Nowhere)
    }

    /// Waits where the server is busy.
    pub(crate) fn connect(&self) -> io::Result<UnixStream> {
        match &self.place {
            Place::Nowhere => Err(io::ErrorKind::NotFound.into()),
            Place::Path => UnixStream::connect(&self.path),
            Place::Name { directory, name } => {
                let file = open_path(directory, Path::new(name))?;
                if !is_socket(&fstat(&file)?) {
                    return Err(io::Error::other("it is no socket any more"));
                }
                connect_to(&file)
            }
            Place::Fixed(file) => connect_to(file),
        }
    }
}

fn is_socket(status: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(status.st_mode) == FileType::Socket
}

/// By way of proc(5), which leads to the file of the descriptor whatever its name has become. It also
/// keeps paths of any length within `sun_path`.
fn connect_to(file: &OwnedFd) -> io::Result<UnixStream> {
    UnixStream::connect(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Root's ids are the host's; the container of another user has that user as its root.
fn id_in_container(id: u32, own: u32) -> u32 {
    match (own, id) {
        (0, id) => id,
        (own, id) if own == id => 0,
        _ => OVERFLOW_ID,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;

    fn specification(path: &Path) -> Specification {
        let container_path = "/run/x.sock".to_owned();
        Specification { container_path, source: HostSocketSource::Mount(path.to_owned()) }
    }

    fn folder(path: &Path, read_only: bool) -> SharedFolder {
        SharedFolder { path: path.to_owned(), is_file: false, read_only, relaxed: false }
    }

    /// Whom one reaches.
    fn answer(socket: &HostSocket, servers: &[(&'static str, &UnixListener)]) -> io::Result<&'static str> {
        let mut stream = socket.connect()?;
        stream.set_nonblocking(true)?;
        for (name, server) in servers {
            server.set_nonblocking(true)?;
            if let Ok((connection, _)) = server.accept() {
                drop(connection);
                assert_eq!(stream.read(&mut [0])?, 0);
                return Ok(name);
            }
        }
        Err(io::Error::other("nobody"))
    }

    #[test]
    fn a_server_that_starts_anew_is_found_again_unless_the_guest_can_write_there() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("deep/x.sock");
        std::fs::create_dir(place.path().join("deep")).unwrap();
        let first = UnixListener::bind(&path).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o620)).unwrap();
        let link = place.path().join("link");
        symlink(&path, &link).unwrap();
        let open_as =
            |path: &Path, folders: &[SharedFolder]| open(&[specification(path)], folders).unwrap().remove(0);
        let open = |folders: &[SharedFolder]| open_as(&path, folders);
        let free =
            open_as(&link, &[folder(place.path(), true), folder(Path::new("/proc/self/fdinfo"), false)]);
        let fixed = [open(&[folder(place.path(), false)]), open(&[folder(path.parent().unwrap(), false)])];
        assert_eq!(free.message().mode, 0o620);
        for socket in fixed.iter().chain([&free]) {
            assert_eq!(answer(socket, &[("first", &first)]).unwrap(), "first");
        }
        std::fs::rename(&path, path.with_extension("old")).unwrap();
        assert_eq!(free.connect().unwrap_err().kind(), io::ErrorKind::NotFound);
        let second = UnixListener::bind(&path).unwrap();
        let servers = [("first", &first), ("second", &second)];
        assert_eq!(answer(&free, &servers).unwrap(), "second");
        assert!(fixed.iter().all(|socket| answer(socket, &servers).unwrap() == "first"));
        // What the path leads to later counts no more than what is no socket.
        std::fs::remove_file(&path).unwrap();
        symlink(path.with_extension("old"), &path).unwrap();
        assert!(free.connect().is_err());
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, b"").unwrap();
        assert!(free.connect().is_err());
        assert!(super::open(&[specification(&path)], &[]).is_err());
    }

    #[test]
    fn an_agent_may_come_and_go() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("agent");
        let source = HostSocketSource::Agent(Some(path.clone()));
        let agent = Specification { container_path: "/a".to_owned(), source };
        let nobody = Specification { container_path: "/a".to_owned(), source: HostSocketSource::Agent(None) };
        let sockets = open(&[agent, nobody], &[]).unwrap();
        assert!(sockets[0].is_somewhere() && !sockets[1].is_somewhere());
        assert!(sockets[0].connect().is_err() && sockets[1].connect().is_err());
        let _listener = UnixListener::bind(&path).unwrap();
        assert!(sockets[0].connect().is_ok());
    }

    #[test]
    fn the_user_of_the_helper_is_root_in_the_container() {
        assert_eq!([id_in_container(0, 0), id_in_container(7, 0)], [0, 7]);
        assert_eq!([id_in_container(7, 7), id_in_container(0, 7), id_in_container(8, 7)], [0, 65534, 65534]);
    }
}

//! Sockets of the container that are offered on the host.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use bulkhead_runtime_control::{BoundSockets, SocketPublication};
use rustix::fs::Mode;
use rustix::process::umask;

use crate::input::Input;

const STACK_BYTES: usize = 64 * 1024;
const PRIVATE_DIRECTORY: u32 = 0o700;

/// The host's ends. They are removed with [`Self::remove`], or by whoever reads the record.
#[derive(Debug)]
pub(crate) struct PublishedSockets {
    /// With their paths in the container.
    listeners: Vec<(UnixListener, String)>,
    bound: BoundSockets,
    record: PathBuf,
}

impl PublishedSockets {
    /// Binds all or none. Called while this process has one thread: it changes the umask.
    ///
    /// # Errors
    /// A path is taken or cannot be had.
    pub(crate) fn bind(publications: &[SocketPublication], record: PathBuf) -> Result<Self> {
        let mut sockets = Self { listeners: Vec::new(), bound: BoundSockets::default(), record };
        for publication in publications {
            let outcome = sockets.bind_one(publication);
            if let Err(error) = outcome {
                sockets.remove();
                return Err(error);
            }
        }
        if !publications.is_empty() {
            let saved = sockets.bound.save(&sockets.record);
            if let Err(error) = saved {
                sockets.remove();
                return Err(error).context("cannot record the published sockets");
            }
        }
        Ok(sockets)
    }

    fn bind_one(&mut self, publication: &SocketPublication) -> Result<()> {
        let path = &publication.host_path;
        let listener = make_parents(path)
            .and_then(|()| bind_with_mode(path, publication.permissions))
            .with_context(|| format!("cannot publish a socket at '{}'", path.display()))?;
        self.bound.add(path).with_context(|| format!("cannot examine socket '{}'", path.display()))?;
        self.listeners.push((listener, publication.container_path.clone()));
        Ok(())
    }

    /// Accepts from threads of their own, for the rest of the process's life.
    pub(crate) fn serve(&mut self, inputs: &SyncSender<Input>) -> io::Result<()> {
        for (listener, container_path) in self.listeners.drain(..) {
            let inputs = inputs.clone();
            let accept = move || accept(&listener, &container_path, &inputs);
            thread::Builder::new().name("published".to_owned()).stack_size(STACK_BYTES).spawn(accept)?;
        }
        Ok(())
    }

    /// Takes the sockets off the host.
    pub(crate) fn remove(&mut self) {
        let outcome = std::mem::take(&mut self.bound).remove();
        match outcome.and_then(|()| BoundSockets::remove_recorded(&self.record)) {
            Ok(()) => {}
            Err(error) => tracing::warn!("cannot remove a published socket: {error}"),
        }
    }
}

fn make_parents(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => DirBuilder::new().recursive(true).mode(PRIVATE_DIRECTORY).create(parent),
        None => Ok(()),
    }
}

/// By the umask, so that there is no instant in which others could connect.
fn bind_with_mode(path: &Path, permissions: u32) -> io::Result<UnixListener> {
    let before = umask(Mode::from_raw_mode(!permissions & 0o777));
    let listener = UnixListener::bind(path);
    umask(before);
    listener
}

fn accept(listener: &UnixListener, container_path: &str, inputs: &SyncSender<Input>) {
    for client in listener.incoming() {
        let Ok(client) = client else {
            // Out of descriptors: give others time to return some.
            thread::sleep(Duration::from_millis(100));
            continue;
        };
        if inputs.send(Input::SocketOpened(container_path.to_owned(), client)).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn all_are_bound_with_their_modes_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let record = folder.path().join("sockets.json");
        let publication = |name: &str, permissions| SocketPublication {
            host_path: folder.path().join(name),
            container_path: "/run/x".to_owned(),
            permissions,
        };
        let (private, shared) = (publication("made/here/a", 0o600), publication("b", 0o660));
        let mut sockets = PublishedSockets::bind(&[private.clone(), shared.clone()], record.clone()).unwrap();
        for (publication, mode) in [(&private, 0o600), (&shared, 0o660)] {
            let metadata = std::fs::symlink_metadata(&publication.host_path).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o777, mode);
        }
        assert!(record.exists());
        let third = publication("c", 0o600);
        let refused =
            PublishedSockets::bind(&[third.clone(), shared.clone()], folder.path().join("other.json"));
        assert!(refused.unwrap_err().to_string().contains("/b'"));
        assert!(!third.host_path.exists() && shared.host_path.exists());
        sockets.remove();
        assert!(!shared.host_path.exists() && !private.host_path.exists() && !record.exists());
    }
}

//! One apiserver for each app root (flock(2): released by the kernel with the process).

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::fs::FlockOperation;
use rustix::io::Errno;

/// A predecessor that was killed keeps its files for the instant in which it dies, and a child that it was about to
/// make keeps them until it executes its program.
const DEATH_PATIENCE: Duration = Duration::from_secs(2);
const DEATH_PAUSE: Duration = Duration::from_millis(10);

/// Takes the lock; hold the file as long as the daemon lives.
pub(crate) fn acquire(path: &Path) -> anyhow::Result<File> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot open '{}'", path.display()))?;
    match lock_exclusive(&file) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut owner = String::new();
            // The text may be missing for the instant between the other's lock and its write.
            drop((&mut file).take(32).read_to_string(&mut owner));
            bail!("another container-apiserver (process {}) already serves this app root", owner.trim());
        }
        Err(error) => return Err(error).with_context(|| format!("cannot lock '{}'", path.display())),
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .with_context(|| format!("cannot write '{}'", path.display()))?;
    Ok(file)
}

fn lock_exclusive(file: &File) -> Result<(), Errno> {
    let start = Instant::now();
    loop {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if start.elapsed() < DEATH_PATIENCE => std::thread::sleep(DEATH_PAUSE),
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f13_the_second_is_told_the_pid_of_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = acquire(&path).unwrap();
        let message = acquire(&path).unwrap_err().to_string();
        assert!(message.contains(&std::process::id().to_string()), "{message}");
        drop(first);
        acquire(&path).unwrap();
    }

    #[test]
    fn one_that_dies_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = acquire(&path).unwrap();
        let second = std::thread::spawn(move || acquire(&path).map(drop));
        std::thread::sleep(2 * DEATH_PAUSE);
        drop(first);
        second.join().unwrap().unwrap();
    }
}

//! Where an archive goes: a file that appears whole or not at all, or stdout.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use bulkhead_api::error::ErrorCode;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::failure::Failure;
use crate::output::whole_file::WholeFile;

/// What comes of a failure to fill stdout: none that matters if its reader has left, whatever the writer
/// made of that, who is elsewhere.
pub(crate) fn unless_unread(failure: Failure) -> Failure {
    let stdout = io::stdout();
    let mut stdout = [PollFd::new(&stdout, PollFlags::OUT)];
    let is_unread = poll(&mut stdout, Some(&Timespec::default())).is_ok()
        && stdout[0].revents().intersects(PollFlags::ERR | PollFlags::HUP);
    match failure {
        Failure::Refused(_) if is_unread => Failure::Output(io::ErrorKind::BrokenPipe.into()),
        other => other,
    }
}

/// Lets `write` fill the file at `path`, or stdout when there is none. `command` is what the user is
/// pointed to when an archive would land on a terminal.
pub(crate) fn write_to<T>(
    path: Option<&Path>,
    command: &str,
    write: impl FnOnce(OwnedFd) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let Some(path) = path else {
        if io::stdout().is_terminal() {
            return Err(Failure::Usage {
                message: "stdout is a terminal: name a file with --output".to_owned(),
                command: command.to_owned(),
            });
        }
        let output = io::stdout().as_fd().try_clone_to_owned().map_err(Failure::Output)?;
        return write(output).map_err(unless_unread);
    };
    let unwritable = |error: io::Error| {
        let message = format!("cannot write '{}'", path.display());
        Failure::caused_by(ErrorCode::InvalidArgument, message, &error)
    };
    let file = WholeFile::create(path).map_err(unwritable)?;
    let written = write(file.as_fd().try_clone_to_owned().map_err(unwritable)?)?;
    file.publish().map_err(unwritable)?;
    Ok(written)
}

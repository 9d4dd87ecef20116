//! `registry login`

use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};

use bulkhead_api::error::ErrorCode;
use bulkhead_api::registry::{LoginRequest, RegistryLogin};
use clap::Args;

use crate::arguments::{Identifier, RegistryFlags};
use crate::commands::block_on;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output::message;
use crate::services::Services;
use crate::terminal::raw_mode::RawMode;

const MAXIMUM_PASSWORD_BYTES: u64 = 64 << 10;
const INTERRUPT: u8 = 2;

/// Arguments of `registry login`.
#[derive(Args, Clone, Debug)]
pub(crate) struct LoginArguments {
    /// Read the password from stdin
    #[arg(long, requires = "username")]
    password_stdin: bool,

    /// User name at the registry
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,

    /// Registry to log in to
    #[arg(value_name = "SERVER")]
    server: Identifier,

    #[command(flatten)]
    registry: RegistryFlags,
}

pub(super) fn run(arguments: LoginArguments) -> Result<ExitStatus, Failure> {
    let (username, password) = match arguments.username {
        Some(username) if arguments.password_stdin => (username, read_password()?),
        username if io::stdin().is_terminal() => {
            let username = match username {
                Some(username) => username,
                None => ask("Username: ", Echo::Yes)?,
            };
            (username, ask("Password: ", Echo::No)?)
        }
        _ => {
            return Err(usage(
                "stdin is no terminal: give the password with --username and --password-stdin",
            ));
        }
    };
    if password.is_empty() {
        return Err(Failure::refused(ErrorCode::InvalidArgument, "the password is empty"));
    }
    let server = arguments.server.as_str().to_owned();
    let request = LoginRequest {
        login: RegistryLogin { server, username, password },
        scheme: arguments.registry.scheme(),
    };
    let services = Services::from_environment()?;
    block_on(services.call(async |client| client.log_in(&request).await))?;
    message::line("Login succeeded");
    Ok(ExitStatus::Success)
}

fn usage(text: &str) -> Failure {
    Failure::Usage { message: text.to_owned(), command: "container registry login".to_owned() }
}

fn unreadable(error: &io::Error) -> Failure {
    Failure::caused_by(ErrorCode::InvalidArgument, "cannot read the password from stdin", error)
}

/// All of stdin but the newline that `echo` adds.
fn read_password() -> Result<String, Failure> {
    let mut text = String::new();
    io::stdin().take(MAXIMUM_PASSWORD_BYTES).read_to_string(&mut text).map_err(|error| unreadable(&error))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Echo {
    Yes,
    No,
}

/// Asks the person at the terminal, on stderr as stdout is for results.
fn ask(question: &str, echo: Echo) -> Result<String, Failure> {
    let mut stderr = io::stderr();
    // Who has closed stderr is asked without words.
    let _ = stderr.write_all(question.as_bytes()).and_then(|()| stderr.flush());
    if echo == Echo::Yes {
        let mut line = String::new();
        io::stdin().read_line(&mut line).map_err(|error| unreadable(&error))?;
        return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
    }
    let answer = {
        let _raw = RawMode::enter(&io::stdin()).map_err(|error| unreadable(&error))?;
        read_keys(BufReader::new(io::stdin().lock()))
    };
    let _ = stderr.write_all(b"\n");
    let bytes = answer?;
    String::from_utf8(bytes).map_err(|_| usage("the password is not in UTF-8"))
}

/// A line in raw mode, where nobody but us sees to backspace and Ctrl-C.
fn read_keys(input: impl BufRead) -> Result<Vec<u8>, Failure> {
    let mut line: Vec<u8> = Vec::new();
    for byte in input.take(MAXIMUM_PASSWORD_BYTES).bytes() {
        match byte.map_err(|error| unreadable(&error))? {
            b'\r' | b'\n' | 0x04 => break,
            0x03 => return Err(Failure::Signal(INTERRUPT)),
            0x08 | 0x7f => {
                // The rest of a character of several bytes as well.
                while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            byte => line.push(byte),
        }
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_make_a_line() {
        let line = |keys: &str| read_keys(keys.as_bytes()).ok().map(|line| String::from_utf8(line).unwrap());
        assert_eq!(line("secret\rrest").as_deref(), Some("secret"));
        assert_eq!(line("sé\u{7f}\u{7f}xy\u{8}z\n").as_deref(), Some("xz"));
        assert_eq!(line("sec\u{3}ret\r"), None);
    }
}

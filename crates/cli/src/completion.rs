//! Words that the shell offers when the user presses Tab.
//!
//! The shell calls this program with the line so far, so that what is offered always fits the installed
//! version. Names are those of the services that run; pressing a key starts none.

mod plain;

use std::ffi::OsStr;
use std::time::Duration;

use bulkhead_api::container::ContainerState;
use clap::{Arg, Command, ValueHint};
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter};
use clap_complete::env::{Bash, EnvCompleter, Fish, Shells, Zsh};

use crate::commands::block_on;
use crate::failure::Failure;
use crate::output::escape;
use crate::services::Services;
use plain::Plain;

/// Set by the scripts that `completion` prints.
const VARIABLE: &str = "CONTAINER_COMPLETE";
const PROGRAM: &str = "container";
/// Nobody waits longer for a key.
const LIMIT: Duration = Duration::from_secs(1);

/// What a shell offers of signal(7): without those of faults, which nobody sends.
const SIGNALS: [&str; 23] = [
    "HUP", "INT", "QUIT", "ABRT", "KILL", "USR1", "USR2", "PIPE", "ALRM", "TERM", "CHLD", "CONT", "STOP",
    "TSTP", "TTIN", "TTOU", "URG", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Those that can ask.
const SHELLS: [&dyn EnvCompleter; 3] = [&Plain(Bash), &Plain(Zsh), &Plain(Fish)];

/// Answers a shell; false if none asks.
pub(crate) fn answer(grammar: fn() -> Command) -> clap::error::Result<bool> {
    CompleteEnv::with_factory(|| with_names(grammar()))
        .var(VARIABLE)
        .bin(PROGRAM)
        .shells(Shells(&SHELLS))
        .try_complete(std::env::args_os(), std::env::current_dir().ok().as_deref())
}

/// The script that makes a shell ask; `None` if there is none for it.
pub(crate) fn script(shell: &str) -> Option<std::io::Result<String>> {
    let shells = Shells(&SHELLS);
    let completer = shells.completer(shell)?;
    let mut script = Vec::new();
    let written = completer.write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script);
    Some(written.map(|()| String::from_utf8_lossy(&script).into_owned()))
}

/// Arguments say by the name of their value what they take.
fn with_names(command: Command) -> Command {
    let path = command.get_name().to_owned();
    command.mut_args(|argument| complete(&path, argument)).mut_subcommands(with_names)
}

fn complete(command: &str, argument: Arg) -> Arg {
    let name = argument.get_value_names().and_then(|names| names.first()).map(|name| name.to_string());
    let Some(name) = name else { return argument };
    match (command, name.as_str()) {
        (_, "CONTAINER-ID" | "CONTAINER-IDS") => argument.add(ArgValueCompleter::new(containers)),
        (_, "IMAGE" | "IMAGES" | "REFERENCE" | "REFERENCES") | ("tag", "SOURCE") => {
            argument.add(ArgValueCompleter::new(images))
        }
        (_, "NETWORK-NAME" | "NETWORK-NAMES") => argument.add(ArgValueCompleter::new(networks)),
        (_, "NAMES") => argument.add(ArgValueCompleter::new(volumes)),
        _ if argument.get_id() == "volume" => argument.add(ArgValueCompleter::new(sources)),
        _ if argument.get_id() == "volumes_from" => argument.add(ArgValueCompleter::new(containers)),
        _ if argument.get_id() == "network" => argument.add(ArgValueCompleter::new(networks)),
        (_, "SIGNAL") => argument.add(ArgValueCompleter::new(signals)),
        ("copy", "SOURCE" | "DESTINATION") => argument.add(ArgValueCompleter::new(locations)),
        (_, "FILE") => argument.value_hint(ValueHint::FilePath),
        (_, "DIRECTORY") => argument.value_hint(ValueHint::DirPath),
        _ => argument,
    }
}

fn containers(word: &OsStr) -> Vec<CompletionCandidate> {
    let all = ask(async |services| Ok(services.client().list_containers(true).await?));
    let named = all.iter().map(|container| {
        let state = match container.status.state {
            ContainerState::Running => "running",
            ContainerState::Stopping => "stopping",
            _ => "stopped",
        };
        (container.id.clone(), Some(state))
    });
    candidates(word, named)
}

/// Paths here, and containers with the colon that a path of theirs follows.
fn locations(word: &OsStr) -> Vec<CompletionCandidate> {
    let all = ask(async |services| Ok(services.client().list_containers(true).await?));
    let mut found = candidates(word, all.iter().map(|container| (format!("{}:", container.id), None)));
    found.extend(PathCompleter::any().complete(word));
    found
}

/// In either spelling, the short one first.
fn signals(word: &OsStr) -> Vec<CompletionCandidate> {
    let prefix = if word.to_string_lossy().starts_with('S') { "SIG" } else { "" };
    candidates(word, SIGNALS.iter().map(|name| (format!("{prefix}{name}"), None)))
}

fn images(word: &OsStr) -> Vec<CompletionCandidate> {
    let all = ask(async |services| Ok(services.client().list_images().await?));
    // As `image list` shows them, and as people type them.
    let named = all.iter().map(|image| {
        let (name, tag) = crate::output::images::name_and_tag(&image.configuration.name);
        (format!("{name}:{tag}"), None)
    });
    candidates(word, named)
}

fn networks(word: &OsStr) -> Vec<CompletionCandidate> {
    let all = ask(async |services| Ok(services.client().list_networks().await?));
    candidates(word, all.iter().map(|network| (network.id.clone(), None)))
}

fn volumes(word: &OsStr) -> Vec<CompletionCandidate> {
    let all = ask(async |services| Ok(services.client().list_volumes().await?));
    candidates(word, all.iter().map(|volume| (volume.configuration.name.clone(), None)))
}

/// Volumes, and folders here.
fn sources(word: &OsStr) -> Vec<CompletionCandidate> {
    let mut found = volumes(word);
    found.extend(PathCompleter::any().complete(word));
    found
}

/// Nothing when nobody serves, or not at once.
fn ask<T: Default>(question: impl AsyncFnOnce(&Services) -> Result<T, Failure>) -> T {
    let Ok(services) = Services::from_environment() else { return T::default() };
    block_on(async { Ok(tokio::time::timeout(LIMIT, question(&services)).await) })
        .ok()
        .and_then(Result::ok)
        .and_then(Result::ok)
        .unwrap_or_default()
}

fn candidates(
    word: &OsStr,
    names: impl Iterator<Item = (String, Option<&'static str>)>,
) -> Vec<CompletionCandidate> {
    let word = word.to_string_lossy();
    names
        // What a shell would have to quote is not offered: names are plain, and other texts are not names.
        .filter(|(name, _)| name.starts_with(&*word) && escape::text(name) == *name && !name.contains(' '))
        .map(|(name, help)| CompletionCandidate::new(name).help(help.map(Into::into)))
        .collect()
}

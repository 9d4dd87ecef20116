//! The grammar: nouns and verbs, and how mistakes are told.

mod booleans;

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::arguments::Elsewhere;
use crate::commands::completion::CompletionArguments;
use crate::commands::container::ContainerCommand;
use crate::commands::events::EventsArguments;
use crate::commands::help::HelpArguments;
use crate::commands::image::ImageCommand;
use crate::commands::image::history::HistoryArguments;
use crate::commands::man::ManArguments;
use crate::commands::network::NetworkCommand;
use crate::commands::plugin;
use crate::commands::registry::RegistryCommand;
use crate::commands::system::SystemCommand;
use crate::commands::volume::VolumeCommand;
use crate::exit_status::OwnFailure;
use crate::failure::Failure;
use crate::output::{help as layout, message, version};

/// Runs Linux containers, each in a lightweight virtual machine of its own (Bulkhead)
#[derive(Debug, Parser)]
#[command(
    name = "container",
    bin_name = "container",
    disable_help_subcommand = true,
    disable_version_flag = true,
    subcommand_required = true,
    arg_required_else_help = true,
    // What is appended to an alias or by a wrapper counts.
    args_override_self = true,
    max_term_width = 100
)]
struct CommandLine {
    #[command(flatten)]
    global: GlobalFlags,
    #[command(subcommand)]
    command: Command,
}

/// Flags of every command.
#[derive(Args, Clone, Copy, Debug)]
struct GlobalFlags {
    /// Show what happens behind the scenes [environment: CONTAINER_DEBUG]
    #[arg(long, global = true)]
    debug: bool,

    /// Show the version
    #[arg(long, global = true, action = clap::ArgAction::SetTrue)]
    version: bool,
}

/// Nouns and verbs.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Container(ContainerCommand),
    /// Print a script that makes a shell complete words
    Completion(CompletionArguments),
    /// Show what happens to containers and images
    Events(EventsArguments),
    /// Show how an image came to be: `image history`, as Docker has it
    #[command(hide = true)]
    History(HistoryArguments),
    /// Manage images
    #[command(visible_alias = "i", subcommand, arg_required_else_help = true)]
    Image(ImageCommand),
    /// Manage networks
    #[command(visible_alias = "n", subcommand, arg_required_else_help = true)]
    Network(NetworkCommand),
    /// Manage logins at registries
    #[command(visible_alias = "r", subcommand, arg_required_else_help = true)]
    Registry(RegistryCommand),
    /// Manage container services
    #[command(visible_alias = "s", subcommand, arg_required_else_help = true)]
    System(SystemCommand),
    /// Manage volumes
    #[command(visible_alias = "v", subcommand, arg_required_else_help = true)]
    Volume(VolumeCommand),
    /// Explain a command
    Help(HelpArguments),
    /// Write manual pages
    #[command(hide = true)]
    Man(ManArguments),
    #[command(external_subcommand)]
    Plugin(Vec<OsString>),
}

impl Command {
    /// What it ends with when the failure is not its process's.
    pub(crate) fn own_failure(&self) -> OwnFailure {
        match self {
            Self::Container(command) => command.own_failure(),
            _ => OwnFailure::Plain,
        }
    }
}

/// What the words mean.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// Something to do.
    Command(Command),
    /// Something to show.
    Text(String),
}

/// Parses the words, of which the first is the program's name.
pub(crate) fn parse(words: impl Iterator<Item = OsString>) -> Result<Parsed, Failure> {
    let mut words: Vec<OsString> = words.collect();
    let mut root = CommandLine::command();
    // Docker's noun of these commands, `docker container list`.
    if let [_, noun, verb, ..] = words.as_slice()
        && noun == "container"
        && verb.to_str().is_some_and(|verb| root.find_subcommand(verb).is_some())
    {
        words.remove(1);
    }
    let parsed = loop {
        let parsed = root
            .try_get_matches_from_mut(&words)
            .and_then(|mut matches| CommandLine::from_arg_matches_mut(&mut matches));
        let plainer = parsed.as_ref().err().and_then(|error| booleans::plainer(&root, &words, error));
        match plainer {
            Some(plainer) => words = plainer,
            None => break parsed,
        }
    };
    match parsed {
        Ok(line) => {
            let debug = line.global.debug || std::env::var_os(bulkhead_paths::environment::DEBUG).is_some();
            message::DEBUG.store(debug, std::sync::atomic::Ordering::Relaxed);
            Ok(if line.global.version {
                Parsed::Text(version::line())
            } else {
                Parsed::Command(line.command)
            })
        }
        Err(error) => {
            let path = path_of(&root, &words);
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                    if !is_mistake(&root, &path, &error) =>
                {
                    Ok(Parsed::Text(help(&path).unwrap_or_default()))
                }
                _ if asks_for_version(&root, &path, &words) => Ok(Parsed::Text(version::line())),
                _ => Err(Failure::Usage {
                    message: explain(&error),
                    command: [&["container"], path.as_slice()].concat().join(" "),
                }),
            }
        }
    }
}

/// All commands with their arguments.
pub(crate) fn grammar() -> clap::Command {
    CommandLine::command()
}

/// Help of the command at the end of the path; `None` if there is no such command.
pub(crate) fn help(path: &[&str]) -> Option<String> {
    let mut root = CommandLine::command();
    root.build();
    let text = layout::render(&root, path)?;
    Some(if path.is_empty() { format!("{text}\n{}\n", plugin::help_section()) } else { text })
}

/// The names of the command that the words lead to, aliases resolved.
fn path_of(root: &clap::Command, words: &[OsString]) -> Vec<String> {
    let mut command = root;
    let mut path = Vec::new();
    for word in words.iter().skip(1) {
        let Some(word) = word.to_str() else { break };
        if word.starts_with('-') {
            continue;
        }
        let Some(next) = command.find_subcommand(word) else { break };
        path.push(next.get_name().to_owned());
        command = next;
    }
    path
}

/// A noun alone shows its help; a verb without its arguments is a mistake.
fn is_mistake(root: &clap::Command, path: &[&str], error: &clap::Error) -> bool {
    let command = path.iter().try_fold(root, |command, name| command.find_subcommand(name));
    error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        && command.is_some_and(|command| !command.has_subcommands())
}

/// `--version` works on every command, also where arguments are missing.
fn asks_for_version(root: &clap::Command, path: &[&str], words: &[OsString]) -> bool {
    let command = path.iter().try_fold(root, |command, name| command.find_subcommand(name));
    let flags = words.iter().skip(1).filter(|word| word.to_string_lossy().starts_with('-'));
    command.is_some() && words.len() == path.len() + 2 && flags.eq([&OsString::from("--version")])
}

/// One sentence.
fn explain(error: &clap::Error) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(" ")),
        _ => None,
    };
    let argument = context(ContextKind::InvalidArg);
    match (error.kind(), argument) {
        (ErrorKind::UnknownArgument, Some(argument)) if argument.starts_with('-') => {
            format!("unknown option '{argument}'")
        }
        (ErrorKind::UnknownArgument, Some(argument)) => format!("unexpected argument '{argument}'"),
        (ErrorKind::MissingRequiredArgument, Some(arguments)) => format!("missing argument {arguments}"),
        (ErrorKind::MissingSubcommand, _) => "missing subcommand".to_owned(),
        (ErrorKind::InvalidSubcommand, _) => {
            let word = context(ContextKind::InvalidSubcommand).unwrap_or_default();
            let meant = context(ContextKind::SuggestedSubcommand);
            let meant = meant.map(|word| format!("; did you mean '{word}'?")).unwrap_or_default();
            format!("unknown subcommand '{word}'{meant}")
        }
        (ErrorKind::InvalidUtf8, _) => "an argument is not valid UTF-8".to_owned(),
        (ErrorKind::ValueValidation, Some(argument)) => {
            let value = context(ContextKind::InvalidValue).unwrap_or_default();
            let source = std::error::Error::source(error);
            if let Some(Elsewhere(instead)) = source.and_then(|source| source.downcast_ref()) {
                let flag = argument.split([' ', '[']).next().unwrap_or(&argument);
                let value = if argument.contains('[') { String::new() } else { format!(" {value}") };
                return format!("'{flag}{value}' is not available: {instead}");
            }
            let reason = source.map(|source| format!(": {source}"));
            format!("invalid value '{value}' of '{argument}'{}", reason.unwrap_or_default())
        }
        _ => {
            let text = error.render().to_string();
            let text = text.trim_start_matches("error: ");
            let sentence = text.split("\n\n").next().unwrap_or(text);
            sentence.split_whitespace().collect::<Vec<_>>().join(" ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_consistent() {
        CommandLine::command().debug_assert();
    }

    fn meaning(words: &str) -> String {
        let words = ["container"].into_iter().chain(words.split(' ')).map(OsString::from);
        format!("{:?}", parse(words))
    }

    #[test]
    fn booleans_have_values_as_well() {
        for (written, meant) in [
            ("run --rm=true -i demo true", "run --rm -i demo true"),
            ("run --rm --interactive=false --rm=false demo --rm=true", "run demo --rm=true"),
            ("list --all=1 --quiet=0", "list --all"),
            ("run -it --tty=false --init=1 demo -t", "run -i --init demo -t"),
            ("run -d -t --detach=false --remove --rm=0 demo", "run -t demo"),
        ] {
            assert_eq!(meaning(written), meaning(meant), "{written}");
            assert!(meaning(meant).starts_with("Ok"), "{meant}");
        }
        for wrong in ["run --rm=maybe demo", "run --name=true --nonsense=true demo", "run --debug=x demo"] {
            assert!(meaning(wrong).starts_with("Err(Usage"), "{wrong}: {}", meaning(wrong));
        }
    }

    #[test]
    fn dockers_noun_may_come_first() {
        assert_eq!(meaning("container ls -a"), meaning("ls -a"));
        assert!(meaning("container ls -a").starts_with("Ok"));
        assert!(meaning("container nonsense").contains("nonsense"));
    }

    #[test]
    fn what_is_said_last_counts() {
        for (written, meant) in [
            ("run --rm --rm -w /a -w /b -m 1g -m 512m demo", "run --rm -w /b -m 512m demo"),
            ("list -a -a", "list -a"),
        ] {
            assert_eq!(meaning(written), meaning(meant), "{written}");
            assert!(meaning(meant).starts_with("Ok"), "{meant}");
        }
        let both = meaning("run -e A=1 -e B=2 demo");
        assert!(both.contains("[\"A=1\", \"B=2\"]"), "{both}");
    }
}

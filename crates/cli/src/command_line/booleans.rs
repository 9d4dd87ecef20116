//! `--flag=true` and `--flag=false`, as programs write that make command lines of settings.

use std::ffi::OsString;

use clap::ArgAction;
use clap::error::ErrorKind;

use super::path_of;

/// The words without the first of these, if it is what the parser does not understand.
pub(super) fn plainer(
    root: &clap::Command,
    words: &[OsString],
    error: &clap::Error,
) -> Option<Vec<OsString>> {
    if error.kind() != ErrorKind::TooManyValues {
        return None;
    }
    let path = path_of(root, words);
    let command = path.iter().try_fold(root, |command, name| command.find_subcommand(name))?;
    let (index, name, is_set) = words.iter().enumerate().skip(1).find_map(|(index, word)| {
        let (name, value) = word.to_str()?.strip_prefix("--")?.split_once('=')?;
        is_flag(command, name).then_some((index, name, parse(value)?))
    })?;
    let flag = OsString::from(format!("--{name}"));
    let mut words = words.to_vec();
    match is_set {
        true => words[index] = flag,
        // It takes back what an alias says, too.
        false => {
            words.remove(index);
            let mut position = 0;
            words.retain(|word| {
                position += 1;
                position > index || *word != flag
            });
        }
    }
    Some(words)
}

fn is_flag(command: &clap::Command, name: &str) -> bool {
    command.get_arguments().any(|argument| {
        matches!(argument.get_action(), ArgAction::SetTrue)
            && (argument.get_long() == Some(name)
                || argument.get_all_aliases().is_some_and(|aliases| aliases.contains(&name)))
    })
}

fn parse(value: &str) -> Option<bool> {
    match value {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

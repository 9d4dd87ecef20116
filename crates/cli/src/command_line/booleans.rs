//! `--flag=true` and `--flag=false`, as programs write that make command lines of settings.

use std::ffi::OsString;

use clap::ArgAction;
use clap::error::ErrorKind;

use super::path_of;
use crate::values::boolean;

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
    let (index, flag, is_set) = words.iter().enumerate().skip(1).find_map(|(index, word)| {
        let (name, value) = word.to_str()?.strip_prefix("--")?.split_once('=')?;
        Some((index, flags(command).find(|flag| is_called(flag, name))?, boolean::parse(value)?))
    })?;
    let (before, after) = (&words[..index], &words[index + 1..]);
    Some(match is_set {
        true => {
            let plain = OsString::from(format!("--{}", flag.get_long()?));
            before.iter().cloned().chain([plain]).chain(after.iter().cloned()).collect()
        }
        // It takes back what an alias says, too.
        false => {
            let before = before.iter().filter_map(|word| without(command, flag, word));
            before.chain(after.iter().cloned()).collect()
        }
    })
}

fn flags(command: &clap::Command) -> impl Iterator<Item = &clap::Arg> {
    command.get_arguments().filter(|argument| matches!(argument.get_action(), ArgAction::SetTrue))
}

fn is_called(flag: &clap::Arg, name: &str) -> bool {
    flag.get_long() == Some(name) || flag.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
}

/// What is left of a word without the flag, in its long spelling or among short ones.
fn without(command: &clap::Command, flag: &clap::Arg, word: &OsString) -> Option<OsString> {
    let text = word.to_str().unwrap_or_default();
    if text.strip_prefix("--").is_some_and(|name| is_called(flag, name)) {
        return None;
    }
    let is_short = |letter: char| flags(command).any(|flag| flag.get_short() == Some(letter));
    match text.strip_prefix('-') {
        Some(letters) if !letters.is_empty() && letters.chars().all(is_short) => {
            let kept: String = letters.chars().filter(|letter| flag.get_short() != Some(*letter)).collect();
            (!kept.is_empty()).then(|| OsString::from(format!("-{kept}")))
        }
        _ => Some(word.clone()),
    }
}

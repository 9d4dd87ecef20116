//! Shells as clap_complete serves them, with less to choose from.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::Path;

use clap::Command;
use clap_complete::env::EnvCompleter;

use crate::arguments::ElsewhereFlags;

/// Set by the scripts that ask, as clap_complete has them.
const SEPARATOR: &str = "_CLAP_IFS";
const INDEX: &str = "_CLAP_COMPLETE_INDEX";

/// Where there are names to choose from, flags are offered to who types a dash. What this program only
/// refuses is not offered.
#[derive(Debug)]
pub(super) struct Plain<C>(pub(super) C);

impl<C: EnvCompleter> EnvCompleter for Plain<C> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn is(&self, name: &str) -> bool {
        self.0.is(name)
    }

    fn write_registration(
        &self,
        variable: &str,
        name: &str,
        program: &str,
        completer: &str,
        output: &mut dyn Write,
    ) -> io::Result<()> {
        let mut script = Vec::new();
        self.0.write_registration(variable, name, program, completer, &mut script)?;
        let script = String::from_utf8_lossy(&script);
        match self.name() {
            "zsh" => output.write_all(loadable(&script, program).as_bytes()),
            _ => output.write_all(script.as_bytes()),
        }
    }

    fn write_complete(
        &self,
        command: &mut Command,
        words: Vec<OsString>,
        folder: Option<&Path>,
        output: &mut dyn Write,
    ) -> io::Result<()> {
        let index = std::env::var(INDEX).ok().and_then(|index| index.parse().ok());
        let word = words.get(index.unwrap_or(words.len().saturating_sub(1)));
        let is_begun = word.is_some_and(|word| !word.is_empty());
        let mut offered = Vec::new();
        self.0.write_complete(command, words, folder, &mut offered)?;
        // Shells that name no separator have lines.
        let separator = std::env::var(SEPARATOR).unwrap_or_else(|_| "\n".to_owned());
        let offered = String::from_utf8_lossy(&offered);
        output.write_all(chosen(&offered, &separator, is_begun).as_bytes())
    }
}

fn chosen(offered: &str, separator: &str, is_begun: bool) -> String {
    let all = offered.split(separator).filter(|candidate| !is_refused(candidate));
    let all: Vec<&str> = all.collect();
    let is_flag = |candidate: &&str| candidate.starts_with('-');
    let has_names = all.iter().any(|candidate| !candidate.is_empty() && !is_flag(candidate));
    let chosen: Vec<&str> =
        all.into_iter().filter(|candidate| is_begun || !has_names || !is_flag(candidate)).collect();
    chosen.join(separator)
}

/// Its explanation follows a colon or tab.
fn is_refused(candidate: &str) -> bool {
    let name = candidate.split([':', '\t']).next().and_then(|flag| flag.strip_prefix("--"));
    name.is_some_and(|name| ElsewhereFlags::has(OsStr::new(name)))
}

/// A file of zsh's `fpath` is run when the first word is to be completed, and has to complete it.
fn loadable(script: &str, program: &str) -> String {
    let Some((before, register)) = script.trim_end().rsplit_once('\n') else { return script.to_owned() };
    let Some(function) = register.strip_prefix("compdef ").and_then(|words| words.split(' ').next()) else {
        return script.to_owned();
    };
    format!(
        "{before}\nif [[ ${{funcstack[1]}} == _{program} ]]; then\n    {function} \"$@\"\nelse\n    {register}\nfi\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_without_flags_and_refused_flags_never() {
        let offered = "--detach:Leave\nweb\\:x:running\n--gpus:none";
        assert_eq!(chosen(offered, "\n", false), "web\\:x:running");
        assert_eq!(chosen(offered, "\n", true), "--detach:Leave\nweb\\:x:running");
        assert_eq!(chosen("--detach\tLeave\n--gpus\tnone\n", "\n", false), "--detach\tLeave\n");
        assert_eq!(chosen("", "\u{b}", false), "");
    }

    #[test]
    fn zsh_can_load_the_script_when_it_needs_it() {
        let script = loadable("#compdef tool\nf() {}\n\ncompdef f tool\n", "tool");
        assert!(script.starts_with("#compdef tool\nf() {}\n"), "{script}");
        assert!(
            script.ends_with("== _tool ]]; then\n    f \"$@\"\nelse\n    compdef f tool\nfi\n"),
            "{script}"
        );
    }
}

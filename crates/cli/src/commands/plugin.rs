//! Words that are no command of ours.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use bulkhead_paths::Directories;

use crate::command_line;
use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::output::escape;
use crate::spelling;

/// Folders below the install root that may hold plugins.
const FOLDERS: [&str; 2] = ["libexec/container-plugins", "libexec/container/plugins"];

/// First words of Docker that are second ones here.
const ELSEWHERE: [(&str, &str); 15] = [
    ("df", "system df"),
    ("images", "image list"),
    ("import", "image import"),
    ("info", "system status"),
    ("load", "image load"),
    ("login", "registry login"),
    ("logout", "registry logout"),
    ("networks", "network list"),
    ("pull", "image pull"),
    ("push", "image push"),
    ("rmi", "image delete"),
    ("save", "image save"),
    ("tag", "image tag"),
    ("version", "system version"),
    ("volumes", "volume list"),
];

/// Words of Docker that nothing here stands for, and what there is instead.
const INSTEAD: [(&str, &str); 2] = [
    (
        "compose",
        "containers of a project are started one by one; those of one network find each other by name",
    ),
    (
        "search",
        "registries are not searched from here. Look on the registry's web page, then: container image pull NAME",
    ),
];

pub(super) fn run(words: &[OsString]) -> Result<ExitStatus, Failure> {
    let name = words.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
    if name.starts_with('-') {
        return usage(format!("unknown option '{name}'"));
    }
    if let Some((_, instead)) = INSTEAD.iter().find(|(word, _)| *word == name) {
        return usage(format!("there is no 'container {name}': {instead}"));
    }
    let folders: Vec<String> = folders().iter().map(|folder| format!("'{}'", folder.display())).collect();
    let meant = meant(&name).map(|words| format!(". Did you mean 'container {words}'?")).unwrap_or_default();
    usage(format!("Plugin 'container-{name}' not found. Searched {}{meant}", folders.join(" and ")))
}

/// The words for what others have under this one, or for the one that is spelled most alike.
fn meant(name: &str) -> Option<String> {
    let known = ELSEWHERE.iter().find(|(word, _)| *word == name);
    if let Some((_, words)) = known {
        return Some((*words).to_owned());
    }
    let grammar = command_line::grammar();
    let words =
        grammar.get_subcommands().filter(|command| !command.is_hide_set()).map(clap::Command::get_name);
    spelling::nearest(name, words).map(str::to_owned)
}

/// Help's section about them.
pub(crate) fn help_section() -> String {
    let names: Vec<String> = folders().iter().flat_map(|folder| names(folder)).collect();
    if names.is_empty() {
        return "PLUGINS: none installed".to_owned();
    }
    let lines: String = names.iter().map(|name| format!("\n  {}", escape::text(name))).collect();
    format!("PLUGINS:{lines}")
}

fn folders() -> Vec<PathBuf> {
    Directories::from_environment()
        .map(|directories| FOLDERS.iter().map(|folder| directories.install_root.join(folder)).collect())
        .unwrap_or_default()
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
}

fn usage(message: String) -> Result<ExitStatus, Failure> {
    Err(Failure::Usage { message, command: "container".to_owned() })
}

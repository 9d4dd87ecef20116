//! Help in the layout of the compatible command: OVERVIEW, USAGE, ARGUMENTS, OPTIONS, SUBCOMMANDS.

use std::fmt::Write;

use clap::{Arg, ArgAction, Command};

const WIDTH: usize = 100;
const COLUMN: usize = 26;

const CONTAINER_TITLE: &str = "CONTAINER SUBCOMMANDS";
const IMAGE_TITLE: &str = "IMAGE SUBCOMMANDS";
const OTHER_TITLE: &str = "OTHER SUBCOMMANDS";

/// Top-level commands that are not about containers; every other one is listed as a container command.
const NOUNS: [(&str, &str); 11] = [
    ("build", IMAGE_TITLE),
    ("builder", IMAGE_TITLE),
    ("image", IMAGE_TITLE),
    ("registry", IMAGE_TITLE),
    ("completion", OTHER_TITLE),
    ("events", OTHER_TITLE),
    ("help", OTHER_TITLE),
    ("machine", OTHER_TITLE),
    ("network", OTHER_TITLE),
    ("system", OTHER_TITLE),
    ("volume", OTHER_TITLE),
];

/// Help of the command at the end of `path`; `None` if there is no such command.
pub(crate) fn render(root: &Command, path: &[&str]) -> Option<String> {
    let mut command = root;
    let mut words = vec![root.get_name().to_owned()];
    for word in path {
        command = command.find_subcommand(word)?;
        words.push(command.get_name().to_owned());
    }
    Some(render_command(command, &words.join(" ")))
}

fn render_command(command: &Command, words: &str) -> String {
    let mut text = String::new();
    if let Some(about) = command.get_about() {
        text.push_str(&format!("OVERVIEW: {about}\n\n"));
    }
    text.push_str(&format!("USAGE: {words}{}\n", usage(command)));
    let positionals: Vec<_> = command
        .get_positionals()
        .filter(|arg| !arg.is_hide_set())
        .map(|arg| (label(arg), help(arg)))
        .collect();
    section(&mut text, "ARGUMENTS", &positionals);
    for heading in headings(command) {
        let options: Vec<_> = command
            .get_arguments()
            .filter(|arg| is_option(arg) && arg.get_help_heading() == heading.as_deref())
            .map(|arg| (label(arg), help(arg)))
            .collect();
        section(&mut text, heading.as_deref().unwrap_or("OPTIONS"), &options);
    }
    for (title, names) in groups(command) {
        let entries: Vec<_> = names
            .iter()
            .filter_map(|name| command.find_subcommand(name))
            .map(|subcommand| {
                (names_of(subcommand), subcommand.get_about().map(ToString::to_string).unwrap_or_default())
            })
            .collect();
        section(&mut text, &title, &entries);
    }
    if command.has_subcommands() {
        text.push_str(&format!("\n  See '{words} <subcommand> --help' for detailed help.\n"));
    }
    if let Some(after) = command.get_after_help() {
        text.push_str(&format!("\n{after}\n"));
    }
    text
}

fn usage(command: &Command) -> String {
    let mut text = String::new();
    if command.get_arguments().any(is_option) {
        text.push_str(" [<options>]");
    }
    if command.has_subcommands() {
        text.push_str(" <subcommand>");
    }
    for arg in command.get_positionals() {
        text.push(' ');
        text.push_str(&label(arg));
    }
    text
}

/// The groups of a command, its own options last.
fn headings(command: &Command) -> Vec<Option<String>> {
    let mut headings: Vec<Option<String>> = Vec::new();
    for arg in command.get_arguments().filter(|arg| is_option(arg)) {
        let heading = arg.get_help_heading().map(str::to_owned);
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    headings.sort_by_key(Option::is_none);
    headings
}

/// Top-level commands by noun; elsewhere one group.
fn groups(command: &Command) -> Vec<(String, Vec<String>)> {
    let visible = || command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set());
    if visible().next().is_none() {
        return Vec::new();
    }
    if command.get_name() != "container" {
        let names = visible().map(|subcommand| subcommand.get_name().to_owned()).collect();
        return vec![("SUBCOMMANDS".to_owned(), names)];
    }
    let noun = |name: &str| NOUNS.iter().find(|(noun, _)| *noun == name).map(|(_, title)| *title);
    let titled = |title: &str| -> Vec<String> {
        visible()
            .map(Command::get_name)
            .filter(|name| noun(name).unwrap_or(CONTAINER_TITLE) == title)
            .map(str::to_owned)
            .collect()
    };
    let mut groups: Vec<_> = [CONTAINER_TITLE, IMAGE_TITLE, OTHER_TITLE]
        .map(|title| (title.to_owned(), titled(title)))
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .collect();
    for (_, names) in &mut groups {
        // The order of the parser is that of declaration; a reader looks a word up.
        names.sort_by_key(|name| (name == "help", name.clone()));
    }
    groups
}

fn names_of(command: &Command) -> String {
    let mut names = command.get_name().to_owned();
    for alias in command.get_visible_aliases() {
        names.push_str(", ");
        names.push_str(alias);
    }
    names
}

fn is_option(arg: &Arg) -> bool {
    !arg.is_positional() && !arg.is_hide_set()
}

fn label(arg: &Arg) -> String {
    let values = arg.get_value_names().unwrap_or_default();
    if arg.is_positional() {
        return positional_label(arg, values);
    }
    let mut names = Vec::new();
    names.extend(arg.get_short().map(|short| format!("-{short}")));
    names.extend(arg.get_long().map(|long| format!("--{long}")));
    names.extend(arg.get_visible_aliases().unwrap_or_default().iter().map(|alias| format!("--{alias}")));
    let mut label = names.join(", ");
    if takes_value(arg) {
        for value in values {
            // Writing into a String cannot fail.
            let _ = write!(label, " <{value}>");
        }
    }
    label
}

fn positional_label(arg: &Arg, values: &[clap::builder::Str]) -> String {
    let many = arg.get_num_args().is_some_and(|range| range.max_values() > 1);
    let mut labels: Vec<String> = values.iter().map(|value| format!("<{}>", value.to_lowercase())).collect();
    if let Some(last) = labels.last_mut().filter(|_| many) {
        last.push_str(" ...");
        if values.len() > 1 {
            *last = format!("[{last}]");
        }
    }
    let label = labels.join(" ");
    if arg.is_required_set() { label } else { format!("[{label}]") }
}

fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

fn help(arg: &Arg) -> String {
    let mut text = arg.get_help().map(ToString::to_string).unwrap_or_default();
    if takes_value(arg) && !arg.is_hide_possible_values_set() {
        let values: Vec<_> =
            arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
        if !values.is_empty() {
            text.push_str(&format!(" [values: {}]", values.join(", ")));
        }
        let defaults: Vec<_> =
            arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
        if !defaults.is_empty() {
            text.push_str(&format!(" [default: {}]", defaults.join(", ")));
        }
    }
    text
}

fn section(text: &mut String, title: &str, entries: &[(String, String)]) {
    if entries.is_empty() {
        return;
    }
    text.push_str(&format!("\n{title}:\n"));
    for (label, help) in entries {
        let mut line = format!("  {label}");
        if line.len() >= COLUMN {
            text.push_str(&line);
            text.push('\n');
            line = String::new();
        }
        for word in help.split_whitespace() {
            if line.len() > COLUMN && line.len() + 1 + word.len() > WIDTH {
                text.push_str(&line);
                text.push('\n');
                line = String::new();
            }
            let padding = COLUMN.saturating_sub(line.len()).max(1);
            line.extend(std::iter::repeat_n(' ', padding));
            line.push_str(word);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

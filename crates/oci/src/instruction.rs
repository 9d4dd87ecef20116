//! Instructions of a Dockerfile that change an image's configuration, as `commit --change` has them.

mod healthcheck;
mod words;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use thiserror::Error;

use words::{expand, pairs, split};

/// Ports of one range that are exposed one by one, as Docker does it.
const MAXIMUM_RANGE: u16 = 1000;

/// Why a text is no instruction that can be applied. The text is shown escaped.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InstructionError {
    /// Another word than those that change a configuration.
    #[error(
        "'{word}' changes nothing of an image's configuration: expected CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, \
         LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME or WORKDIR"
    )]
    Unknown {
        /// The first word.
        word: String,
    },
    /// Nothing after the word.
    #[error("{instruction} needs a value")]
    Empty {
        /// The word.
        instruction: &'static str,
    },
    /// What is after the word cannot be understood.
    #[error("'{value}' is no value of {instruction}: expected {expected}")]
    Value {
        /// The word.
        instruction: &'static str,
        /// What follows it.
        value: String,
        /// What could.
        expected: &'static str,
    },
}

/// Applies instructions, in their order, to the member `config` of an image's configuration.
///
/// # Errors
/// The first that cannot be applied; the configuration is then partly changed.
pub fn apply<'a>(
    instructions: impl IntoIterator<Item = &'a str>,
    config: &mut Map<String, Value>,
) -> Result<(), InstructionError> {
    let mut has_command = false;
    for text in instructions.into_iter().flat_map(lines) {
        let text = text.trim();
        let (word, rest) = text.split_once(|letter: char| letter.is_whitespace()).unwrap_or((text, ""));
        let name = known(word).ok_or_else(|| InstructionError::Unknown { word: shown(word) })?;
        let rest = rest.trim();
        if rest.is_empty() {
            return Err(InstructionError::Empty { instruction: name });
        }
        apply_one(name, rest, config, &mut has_command)?;
    }
    Ok(())
}

/// One text may be several lines, as in a Dockerfile: a backslash at the end continues one, # begins a remark.
fn lines(text: &str) -> Vec<String> {
    let joined = text.replace("\\\r\n", "").replace("\\\n", "");
    let lines: Vec<String> = joined.lines().map(str::to_owned).collect();
    if lines.len() < 2 {
        return vec![joined];
    }
    lines
        .into_iter()
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

const KNOWN: [&str; 11] = [
    "CMD",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "HEALTHCHECK",
    "LABEL",
    "ONBUILD",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

fn known(word: &str) -> Option<&'static str> {
    KNOWN.into_iter().find(|known| known.eq_ignore_ascii_case(word))
}

fn apply_one(
    name: &'static str,
    rest: &str,
    config: &mut Map<String, Value>,
    has_command: &mut bool,
) -> Result<(), InstructionError> {
    let wrong = |value: &str, expected| wrong(name, value, expected);
    let environment = strings(config.get("Env"));
    let plain = |text: &str| expand(text, &environment);
    match name {
        "CMD" => {
            *has_command = true;
            config.insert("Cmd".to_owned(), json!(command(rest)));
        }
        "ENTRYPOINT" => {
            config.insert("Entrypoint".to_owned(), json!(command(rest)));
            // That of the image was meant for another one.
            if !*has_command {
                config.remove("Cmd");
            }
        }
        "ENV" => {
            let mut all = environment.clone();
            for (key, value) in pairs(rest, &environment).ok_or_else(|| wrong(rest, "NAME=VALUE …"))? {
                let is_it = |known: &&mut String| known.split('=').next() == Some(key.as_str());
                let variable = format!("{key}={value}");
                match all.iter_mut().find(is_it) {
                    Some(known) => *known = variable,
                    None => all.push(variable),
                }
            }
            config.insert("Env".to_owned(), json!(all));
        }
        "LABEL" => {
            let found = pairs(rest, &environment).ok_or_else(|| wrong(rest, "NAME=VALUE …"))?;
            add(config, "Labels", found.into_iter().map(|(key, value)| (key, Value::String(value))));
        }
        "EXPOSE" => {
            let expected = "PORT[-PORT][/tcp|udp|sctp] …";
            let words = split(&plain(rest)).ok_or_else(|| wrong(rest, expected))?;
            let mut ports = BTreeSet::new();
            for word in &words {
                ports.extend(exposed(word).ok_or_else(|| wrong(word, expected))?);
            }
            add(config, "ExposedPorts", ports.into_iter().map(|port| (port, json!({}))));
        }
        "VOLUME" => {
            let paths = match exec_form(rest) {
                Some(paths) => paths,
                None => split(&plain(rest)).ok_or_else(|| wrong(rest, "a path"))?,
            };
            if paths.iter().any(String::is_empty) {
                return Err(wrong(rest, "a path"));
            }
            add(config, "Volumes", paths.into_iter().map(|path| (path, json!({}))));
        }
        "HEALTHCHECK" => {
            let check = healthcheck::parse(rest).map_err(|expected| wrong(rest, expected))?;
            config.insert("Healthcheck".to_owned(), check);
        }
        "ONBUILD" => {
            let first = rest.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
            if ["ONBUILD", "FROM", "MAINTAINER"].contains(&first.as_str()) {
                return Err(wrong(rest, "an instruction other than ONBUILD, FROM and MAINTAINER"));
            }
            let mut triggers = strings(config.get("OnBuild"));
            triggers.push(rest.to_owned());
            config.insert("OnBuild".to_owned(), json!(triggers));
        }
        "STOPSIGNAL" => drop(config.insert("StopSignal".to_owned(), json!(plain(rest)))),
        "USER" => drop(config.insert("User".to_owned(), json!(plain(rest)))),
        _ => {
            let path = plain(rest);
            let before = config.get("WorkingDir").and_then(Value::as_str).unwrap_or_default();
            let path = if path.starts_with('/') { path } else { format!("{before}/{path}") };
            config.insert("WorkingDir".to_owned(), json!(cleaned(&path)));
        }
    }
    Ok(())
}

fn wrong(instruction: &'static str, value: &str, expected: &'static str) -> InstructionError {
    InstructionError::Value { instruction, value: shown(value), expected }
}

fn shown(text: &str) -> String {
    text.chars().take(100).flat_map(char::escape_default).collect()
}

/// `["a", "b"]`, or a line for the shell.
fn command(text: &str) -> Vec<String> {
    exec_form(text).unwrap_or_else(|| ["/bin/sh", "-c", text].map(str::to_owned).into())
}

fn exec_form(text: &str) -> Option<Vec<String>> {
    if text.starts_with('[') { serde_json::from_str(text).ok() } else { None }
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Adds members to a member that is an object.
fn add(config: &mut Map<String, Value>, name: &str, members: impl IntoIterator<Item = (String, Value)>) {
    let mut all = match config.remove(name) {
        Some(Value::Object(known)) => known,
        _ => Map::new(),
    };
    all.extend(members);
    config.insert(name.to_owned(), Value::Object(all));
}

/// The ports of a range, each with its protocol.
fn exposed(text: &str) -> Option<Vec<String>> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    let is_known = ["tcp", "udp", "sctp"].contains(&protocol.as_str());
    let is_range = first > 0 && first <= last && last - first < MAXIMUM_RANGE;
    (is_known && is_range).then(|| (first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

/// An absolute path without what means nothing.
fn cleaned(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(instructions: &[&str]) -> Result<Value, InstructionError> {
        let before = json!({
            "Env": ["PATH=/bin", "A=1"], "Cmd": ["sh"], "WorkingDir": "/srv", "Shell": ["/bin/ash"],
            "ExposedPorts": {"53/udp": {}}
        });
        let Value::Object(mut config) = before else { unreachable!() };
        apply(instructions.iter().copied(), &mut config)?;
        Ok(Value::Object(config))
    }

    #[test]
    fn instructions_change_what_they_name() {
        let config = applied(&[
            "ENV PATH=/opt:$PATH B=\"two words\"",
            "env LEGACY the rest ${A:-x}",
            "LABEL a=1 b='$A'",
            "EXPOSE 80 443/tcp 8000-8001/udp",
            "VOLUME [\"/data\"]",
            "VOLUME /a /b",
            "WORKDIR sub/../app",
            "USER www:www",
            "STOPSIGNAL SIGQUIT",
            "ONBUILD RUN make",
            "HEALTHCHECK --interval=1m30s --retries=2 CMD wget -q localhost",
        ]);
        let expected = json!({
            "Env": ["PATH=/opt:/bin", "A=1", "B=two words", "LEGACY=the rest 1"],
            "Labels": {"a": "1", "b": "$A"},
            "ExposedPorts": {"53/udp": {}, "80/tcp": {}, "443/tcp": {}, "8000/udp": {}, "8001/udp": {}},
            "Volumes": {"/data": {}, "/a": {}, "/b": {}},
            "WorkingDir": "/srv/app", "User": "www:www", "StopSignal": "SIGQUIT", "OnBuild": ["RUN make"],
            "Cmd": ["sh"], "Shell": ["/bin/ash"],
            "Healthcheck": {"Test": ["CMD-SHELL", "wget -q localhost"], "Interval": 90_000_000_000_u64, "Retries": 2}
        });
        assert_eq!(config.unwrap(), expected);
    }

    #[test]
    fn one_text_may_be_several_lines() {
        let config = applied(&["ENV B=2 \\\n  C=3\n\n# why\nUSER www\n"]).unwrap();
        assert_eq!(config["Env"], json!(["PATH=/bin", "A=1", "B=2", "C=3"]));
        assert_eq!(config["User"], "www");
    }

    #[test]
    fn an_entrypoint_drops_a_command_that_was_not_given_with_it() {
        let both = |config: Value| (config["Entrypoint"].clone(), config["Cmd"].clone());
        assert_eq!(both(applied(&["ENTRYPOINT [\"a\"]"]).unwrap()), (json!(["a"]), Value::Null));
        let shell = json!(["/bin/sh", "-c", "exec a b"]);
        let given = applied(&["CMD [\"x\"]", "ENTRYPOINT exec a b"]).unwrap();
        assert_eq!(both(given), (shell, json!(["x"])));
    }

    #[test]
    fn what_is_no_instruction_is_named() {
        for (text, expected) in [
            ("RUN make", "'RUN' changes nothing"),
            ("CMD", "CMD needs a value"),
            ("EXPOSE x", "'x' is no value of EXPOSE"),
            ("EXPOSE 0", "'0' is no value"),
            ("EXPOSE 1-65535", "is no value"),
            ("ENV =x", "is no value of ENV"),
            ("LABEL a='", "is no value of LABEL"),
            ("HEALTHCHECK --interval=x CMD a", "is no value of HEALTHCHECK"),
            ("HEALTHCHECK CMD", "is no value of HEALTHCHECK"),
            ("HEALTHCHECK CMD []", "is no value of HEALTHCHECK"),
            ("HEALTHCHECK --interval=1ns CMD a", "expected spans of 1ms"),
            ("ONBUILD ONBUILD RUN x", "is no value of ONBUILD"),
        ] {
            let message = applied(&[text]).unwrap_err().to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}

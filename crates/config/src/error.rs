//! Why a file cannot be used.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a file cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// open(2) or read(2) failed.
    #[error("cannot read '{}'", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The file is no configuration.
    #[error("'{}' is larger than {maximum_bytes} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is read.
        maximum_bytes: u64,
    },
    /// The copy could not be written.
    #[error("cannot write '{}'", path.display())]
    Write {
        /// The copy.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// Something in the file makes no sense.
    #[error("'{}', line {line}: {problem}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What it is.
        problem: Problem,
    },
}

/// What makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Problem {
    /// No TOML.
    #[error("{0}")]
    Syntax(String),
    /// Not one of our sections.
    #[error("unknown section '{name}'{}", did_you_mean(*suggestion))]
    UnknownSection {
        /// As written.
        name: String,
        /// The nearest one.
        suggestion: Option<&'static str>,
    },
    /// Not one of the section's keys.
    #[error("unknown key '{name}' in section '{section}'{}", did_you_mean(*suggestion))]
    UnknownKey {
        /// The section.
        section: &'static str,
        /// As written.
        name: String,
        /// The nearest one.
        suggestion: Option<&'static str>,
    },
    /// `container = 3`
    #[error("'{0}' must be a section: [{0}]")]
    NoSection(&'static str),
    /// A value of another kind.
    #[error("{section}.{name} must be {expected}, not {found}")]
    Value {
        /// The section.
        section: &'static str,
        /// The key.
        name: &'static str,
        /// What is expected, with its article.
        expected: String,
        /// As written.
        found: String,
    },
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map(|name| format!(": did you mean '{name}'?")).unwrap_or_default()
}

/// A word of the file in an error: short, and on one line.
pub(crate) fn shown(word: &str) -> String {
    const LONGEST_CHARACTERS: usize = 64;
    let more = if word.chars().nth(LONGEST_CHARACTERS).is_some() { "…" } else { "" };
    word.chars().take(LONGEST_CHARACTERS).flat_map(escaped).chain(more.chars()).collect()
}

/// Quotes are common in values, and need no escaping to stay on one line.
fn escaped(character: char) -> impl Iterator<Item = char> {
    let quote = matches!(character, '"' | '\'').then_some(character);
    quote.into_iter().chain(quote.is_none().then(|| character.escape_default()).into_iter().flatten())
}

//! docs/reliability.md names tests; this finds those that do not exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::repository;

/// Folders with sources of tests.
const SOURCES: [&str; 4] = ["crates", "guest", "file-server", "tests"];

/// Compares the page with the sources.
pub(crate) fn check() -> Result<()> {
    let path = repository::root().join("docs/reliability.md");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut functions = BTreeSet::new();
    for folder in SOURCES {
        collect(&repository::root().join(folder), &mut functions)?;
    }
    match named_tests(&text).find(|name| !functions.contains(*name)) {
        Some(name) => bail!("docs/reliability.md names the test `{name}`, which does not exist"),
        None => Ok(()),
    }
}

/// Words in backticks in the rows of tables, but for words of commands.
fn named_tests(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| line.starts_with("| F"))
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .filter(|word| word.contains('_') && !word.contains(' '))
}

fn collect(folder: &Path, functions: &mut BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if entry.file_name() != "target" {
                collect(&path, functions)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source =
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            functions.extend(
                source.split("fn ").skip(1).filter_map(|rest| Some(rest.split_once('(')?.0.to_owned())),
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_found_among_other_words() {
        let text = "| F1 a | `delete --force` ends it | `f1_one`, `two_three` |\n`no_row`\n| F2 | `oomKilled` | `four_` |";
        assert_eq!(named_tests(text).collect::<Vec<_>>(), ["f1_one", "two_three", "four_"]);
    }
}

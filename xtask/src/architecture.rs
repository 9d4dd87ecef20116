//! `make check`: format, lints, and the crate arrows that ARCHITECTURE.md draws.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result, bail};

use crate::{process, repository};

type Arrows = BTreeMap<String, BTreeSet<String>>;

/// Runs every check.
pub(crate) fn check() -> Result<()> {
    process::cargo(&["fmt", "--all", "--check"])?;
    process::guest_cargo(&["fmt", "--all", "--check"])?;
    process::file_server_cargo(&["fmt", "--all", "--check"])?;
    // Tests fail by panicking and talk to whoever runs them; all other lints hold for them as well.
    let programs = ["clippy", "--release", "--workspace", "--", "--deny", "warnings"];
    let tests = [
        "clippy",
        "--release",
        "--workspace",
        "--tests",
        "--examples",
        "--",
        "--deny",
        "warnings",
        "--allow",
        "clippy::unwrap_used",
        "--allow",
        "clippy::print_stdout",
        "--allow",
        "clippy::print_stderr",
    ];
    for lint in [&programs[..], &tests] {
        process::cargo(lint)?;
        process::guest_cargo(lint)?;
        process::file_server_cargo(lint)?;
    }
    arrows()?;
    crate::reliability::check()
}

fn arrows() -> Result<()> {
    let path = repository::root().join("ARCHITECTURE.md");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let metadata =
        process::output(process::cargo_in("").args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let drawn = drawn_arrows(&text);
    let real = real_arrows(&serde_json::from_str(&metadata)?)?;
    for (name, targets) in &real {
        if drawn.get(name) != Some(targets) {
            let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
            bail!("ARCHITECTURE.md is out of date: it should say `{name} -> {}`", targets.join(" "));
        }
    }
    match drawn.keys().find(|name| !real.contains_key(*name)) {
        Some(gone) => bail!("ARCHITECTURE.md is out of date: there is no crate {gone}"),
        None => Ok(()),
    }
}

/// Lines `name -> target target` inside the fenced block that is marked `arrows`.
fn drawn_arrows(text: &str) -> Arrows {
    text.lines()
        .skip_while(|line| *line != "```arrows")
        .skip(1)
        .take_while(|line| *line != "```")
        .filter_map(|line| line.split_once("->"))
        .map(|(name, targets)| {
            (name.trim().to_owned(), targets.split_whitespace().map(str::to_owned).collect())
        })
        .collect()
}

fn real_arrows(metadata: &serde_json::Value) -> Result<Arrows> {
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    Ok(packages
        .iter()
        .filter_map(|package| {
            let name = package["name"].as_str()?.strip_prefix("bulkhead-")?;
            let targets = package["dependencies"]
                .as_array()?
                .iter()
                .filter(|dependency| dependency["kind"].is_null())
                .filter_map(|dependency| dependency["name"].as_str()?.strip_prefix("bulkhead-"))
                .map(str::to_owned)
                .collect();
            Some((name.to_owned(), targets))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_are_read_from_the_marked_block() {
        let drawn = drawn_arrows("text -> no\n```arrows\ncli -> api client\noci ->\n```\nmore -> no\n");
        assert_eq!(drawn["cli"], BTreeSet::from(["api".to_owned(), "client".to_owned()]));
        assert!(drawn["oci"].is_empty());
        assert_eq!(drawn.len(), 2);
    }
}

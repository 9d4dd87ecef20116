//! What commands print, compared with the files of tests/golden. To write them anew:
//! `UPDATE_GOLDEN=1 cargo test --release -p bulkhead-tests --test golden`
#![allow(clippy::panic, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::fs;

use bulkhead_tests::{Installation, golden};
use serde_json::Value;

/// Names of the subcommands that a help text lists.
fn subcommands(help: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_listing = false;
    for line in help.lines() {
        if !line.starts_with(' ') {
            is_listing = line.ends_with("SUBCOMMANDS:");
        } else if is_listing && line.starts_with("  ") && !line.starts_with("   ") {
            let name = line.split_whitespace().next().unwrap_or_default().trim_end_matches(',');
            // "  See 'container <subcommand> --help' …"
            if name != "See" {
                names.push(name.to_owned());
            }
        }
    }
    names
}

#[test]
fn help_of_every_command_is_as_written_and_starts_nothing() {
    let installation = Installation::new();
    let mut differences = Vec::new();
    let mut files = BTreeSet::new();
    let mut waiting: Vec<Vec<String>> = vec![Vec::new()];
    while let Some(path) = waiting.pop() {
        let words: Vec<&str> = path.iter().map(String::as_str).collect();
        let outcome = installation.container(&[&words[..], &["--help"]].concat()).expect_code(0);
        assert_eq!(outcome.stderr, "", "{words:?}");
        let help = outcome.text();
        let file = format!("help/{}.txt", [&["container"], words.as_slice()].concat().join("-"));
        differences.extend(golden::difference(&file, &help));
        files.insert(file);
        waiting.extend(subcommands(&help).into_iter().map(|name| [path.clone(), vec![name]].concat()));
        // The other ways to ask give the same answer.
        if path.len() < 2 {
            assert_eq!(installation.run_ok(&[&words[..], &["-h"]].concat()), help.trim_end());
            assert_eq!(installation.run_ok(&[&["help"], words.as_slice()].concat()), help.trim_end());
        }
    }
    assert!(files.len() > 40, "commands are missing: {files:?}");
    for entry in fs::read_dir(golden::folder().join("help")).unwrap() {
        let name = format!("help/{}", entry.unwrap().file_name().into_string().unwrap());
        if files.contains(&name) {
            continue;
        }
        if golden::is_update() {
            fs::remove_file(golden::folder().join(&name)).unwrap();
        } else {
            differences.push(format!("tests/golden/{name} is of no command"));
        }
    }
    golden::assert_none(&differences);
    let made: Vec<_> = fs::read_dir(installation.folder()).unwrap().collect();
    assert!(made.is_empty(), "help made {made:?}");
}

/// Depend on the host, the build or the moment.
const UNSTABLE_NUMBERS: [&str; 15] = [
    "blockReadBytes",
    "blockWriteBytes",
    "cpuUsageUsec",
    "memoryUsageBytes",
    "networkRxBytes",
    "networkTxBytes",
    "numProcesses",
    "reclaimable",
    "size",
    "sizeInBytes",
    "maximumCpus",
    "creationTimeUs",
    "kernelBootUs",
    "pid",
    "startUs",
];

#[test]
fn lists_tables_and_details_are_as_written() {
    let installation = Installation::with_demo();
    let create = ["create", "--name", "made", "--label", "tier=back", "-e", "A=b", "demo", "echo", "hi"];
    installation.run_ok(&create);
    installation.run_ok(&["run", "-d", "--name", "runs", "--cpus", "1", "demo", "sleep", "600"]);
    let _ = installation.container(&["run", "--name", "ended", "demo", "sh", "-c", "exit 3"]).expect_code(3);

    let mut differences = Vec::new();
    for (name, words) in [
        ("list", &["list", "--all"][..]),
        ("image-list", &["image", "list"]),
        ("network-list", &["network", "list"]),
        ("system-dns-list", &["system", "dns", "list"]),
        ("stats", &["stats", "--no-stream"]),
        ("system-df", &["system", "df"]),
        ("system-status", &["system", "status"]),
        ("system-version", &["system", "version"]),
    ] {
        let json = installation.run_ok(&[words, &["--format", "json"]].concat());
        differences.extend(compare_json(&installation, name, &json));
        let table = installation.run_ok(words);
        // Numbers and reasons of the host are covered by the keys of the JSON.
        let table = match name {
            "stats" | "system-df" | "system-status" | "system-version" => {
                let columns = table.lines().map(|line| line.split("  ").next().unwrap_or_default());
                let header = table.lines().next().unwrap_or_default();
                let columns = columns.skip(1).filter(|name| *name != "advice");
                std::iter::once(header).chain(columns).map(|line| format!("{line}\n")).collect()
            }
            _ => table,
        };
        let table = golden::normalize_table(&stable(&installation, &table));
        differences.extend(golden::difference(&format!("table/{name}.txt"), &table));
    }
    for (name, words) in [
        ("inspect-created", ["inspect", "made"]),
        ("inspect-running", ["inspect", "runs"]),
        ("inspect-ended", ["inspect", "ended"]),
    ] {
        differences.extend(compare_json(&installation, name, &installation.run_ok(&words)));
    }
    let image = installation.run_ok(&["image", "inspect", "demo"]);
    differences.extend(compare_json(&installation, "image-inspect", &image));
    golden::assert_none(&differences);
}

fn compare_json(installation: &Installation, name: &str, text: &str) -> Option<String> {
    let mut value: Value = serde_json::from_str(&stable(installation, text)).unwrap();
    golden::normalize(&mut value, &UNSTABLE_NUMBERS);
    // What a host lacks is said by each host in its own words.
    if let Some(machine) = value.pointer_mut("/machine") {
        machine["advice"] = Value::Array(Vec::new());
        machine["reason"] = Value::String("<reason>".to_owned());
    }
    golden::difference(&format!("json/{name}.json"), &format!("{value:#}\n"))
}

/// Folders of this run and versions of this build.
fn stable(installation: &Installation, text: &str) -> String {
    let tree = installation.demo_archive();
    let tree = tree.ancestors().nth(3).unwrap().display().to_string();
    text.replace(&installation.folder().display().to_string(), "<folder>")
        .replace(&tree, "<tree>")
        .replace(concat!("\"", env!("CARGO_PKG_VERSION"), "\""), "\"<version>\"")
        .replace(concat!("  ", env!("CARGO_PKG_VERSION"), "  "), "  <version>  ")
}

//! Golden files: what commands print, checked in, with what differs from run to run replaced.
//!
//! `UPDATE_GOLDEN=1 cargo test --release -p bulkhead-tests --test golden` writes them anew.

use std::path::{Path, PathBuf};
use std::{env, fs};

use serde_json::Value;

const REFRESH: &str = "UPDATE_GOLDEN=1 cargo test --release -p bulkhead-tests --test golden";

/// Where the files are.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// Whether the files are to be written rather than compared.
#[must_use]
pub fn is_update() -> bool {
    env::var_os("UPDATE_GOLDEN").is_some_and(|value| !value.is_empty())
}

/// Compares a text with a golden file, or writes it; the difference otherwise.
///
/// # Panics
/// The file cannot be written.
#[must_use]
pub fn difference(name: &str, text: &str) -> Option<String> {
    let path = folder().join(name);
    if is_update() {
        fs::create_dir_all(path.parent().unwrap_or(&path)).expect("folder of golden files");
        fs::write(&path, text).expect("golden file");
        return None;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    if expected == text {
        return None;
    }
    let (expected, found): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), text.lines().collect());
    let line = expected.iter().zip(&found).take_while(|(one, other)| one == other).count();
    Some(format!(
        "tests/golden/{name}, line {}: expected {:?}, found {:?}; if that is meant to be: {REFRESH}",
        line + 1,
        expected.get(line).unwrap_or(&"the end"),
        found.get(line).unwrap_or(&"the end"),
    ))
}

/// Fails with every difference at once.
///
/// # Panics
/// There are any.
pub fn assert_none(differences: &[String]) {
    assert!(differences.is_empty(), "{} golden files differ:\n{}", differences.len(), differences.join("\n"));
}

/// Replaces what differs from run to run: by kind for texts, by key for numbers.
pub fn normalize(value: &mut Value, unstable_numbers: &[&str]) {
    match value {
        Value::String(text) => *text = text.split(' ').map(normalize_word).collect::<Vec<_>>().join(" "),
        Value::Array(items) => items.iter_mut().for_each(|item| normalize(item, unstable_numbers)),
        Value::Object(members) => {
            for (key, value) in members {
                if value.is_string() && key.to_ascii_lowercase().ends_with("commit") {
                    *value = Value::String("<commit>".to_owned());
                } else if value.is_number() && unstable_numbers.contains(&key.as_str()) {
                    *value = Value::String("<number>".to_owned());
                } else {
                    normalize(value, unstable_numbers);
                }
            }
        }
        _ => {}
    }
}

/// A table with one blank between words and the unstable ones replaced; padding depends on them.
#[must_use]
pub fn normalize_table(text: &str) -> String {
    let mut lines = String::new();
    for line in text.lines() {
        let cells: Vec<String> = line
            .split("  ")
            .map(str::trim)
            .filter(|cell| !cell.is_empty())
            .map(|cell| cell.split(' ').map(normalize_word).collect::<Vec<_>>().join(" "))
            .collect();
        lines.push_str(&cells.join(" | "));
        lines.push('\n');
    }
    lines
}

/// The kind of an unstable word, or the word.
fn normalize_word(word: &str) -> String {
    let hexadecimal =
        |text: &str, length: usize| text.len() >= length && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if let Some((address, length)) = word.split_once('/')
        && is_address(address)
    {
        return format!("<address>/{length}");
    }
    let is_date = word.len() >= 20 && word.ends_with('Z') && word.as_bytes()[10] == b'T';
    let is_mac = word.len() == 17 && word.split(':').all(|part| part.len() == 2 && hexadecimal(part, 2));
    if is_address(word) {
        "<address>".to_owned()
    } else if is_date {
        "<date>".to_owned()
    } else if word.strip_prefix("sha256:").is_some_and(|digest| hexadecimal(digest, 64)) {
        "sha256:<digest>".to_owned()
    } else if hexadecimal(word.trim_end_matches("..."), 12) {
        "<digest>".to_owned()
    } else if is_mac {
        "<mac>".to_owned()
    } else {
        word.to_owned()
    }
}

fn is_address(word: &str) -> bool {
    word.parse::<std::net::Ipv4Addr>().is_ok()
        || (word.contains("::") && word.parse::<std::net::Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unstable_values_become_their_kind() {
        let mut value = json!({
            "a": "2026-01-02T03:04:05Z", "b": ["192.168.64.2/24", "fd00::2"], "c": "02:aa:bb:cc:dd:ee",
            "d": format!("sha256:{}", "a".repeat(64)), "e": "docker.io/library/demo:latest", "f": 3, "g": 3
        });
        normalize(&mut value, &["f"]);
        let expected = json!({
            "a": "<date>", "b": ["<address>/24", "<address>"], "c": "<mac>", "d": "sha256:<digest>",
            "e": "docker.io/library/demo:latest", "f": "<number>", "g": 3
        });
        assert_eq!(value, expected);
        assert_eq!(normalize_table("ID   DIGEST\nweb  0123456789ab\n"), "ID | DIGEST\nweb | <digest>\n");
    }
}

//! `HEALTHCHECK`

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::command;

const EXPECTED: &str = "NONE or [--interval=30s …] CMD command";
const SHORTEST_NS: i64 = 1_000_000;
/// In seconds.
const UNITS: [(&str, f64); 6] =
    [("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];

/// As a configuration has it; else what was expected.
pub(super) fn parse(text: &str) -> Result<Value, &'static str> {
    let mut check = Map::new();
    let mut rest = text;
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, next) = flag.split_once(char::is_whitespace).ok_or(EXPECTED)?;
        let (name, value) = flag.split_once('=').ok_or(EXPECTED)?;
        let key = match name {
            "interval" => "Interval",
            "timeout" => "Timeout",
            "start-period" => "StartPeriod",
            "start-interval" => "StartInterval",
            "retries" => {
                let retries: u32 = value.parse().map_err(|_| EXPECTED)?;
                check.insert("Retries".to_owned(), json!(retries));
                rest = next.trim_start();
                continue;
            }
            _ => return Err(EXPECTED),
        };
        let span = nanoseconds(value).ok_or(EXPECTED)?;
        // 0 is the default, and what is shorter than Docker takes would be none here.
        if span > 0 && span < SHORTEST_NS {
            return Err("spans of 1ms and longer");
        }
        check.insert(key.to_owned(), json!(span));
        rest = next.trim_start();
    }
    let (word, line) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let line = line.trim();
    let test = if word.eq_ignore_ascii_case("NONE") && line.is_empty() && check.is_empty() {
        vec!["NONE".to_owned()]
    } else if word.eq_ignore_ascii_case("CMD") && !line.is_empty() {
        match command(line).as_slice() {
            [] => return Err(EXPECTED),
            [shell, flag, line] if shell == "/bin/sh" && flag == "-c" => {
                vec!["CMD-SHELL".to_owned(), line.clone()]
            }
            words => [&["CMD".to_owned()], words].concat(),
        }
    } else {
        return Err(EXPECTED);
    };
    check.insert("Test".to_owned(), json!(test));
    Ok(Value::Object(check))
}

/// `1m30s`, as Go writes spans.
fn nanoseconds(text: &str) -> Option<i64> {
    let mut seconds = 0.0;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest.find(|letter: char| letter.is_ascii_digit()).unwrap_or(rest.len());
        let (_, unit) = UNITS.into_iter().find(|(name, _)| *name == &rest[..end])?;
        rest = &rest[end..];
        seconds += number * unit;
    }
    i64::try_from(Duration::try_from_secs_f64(seconds).ok()?.as_nanos()).ok()
}

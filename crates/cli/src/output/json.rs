//! JSON as Foundation writes it, with sorted keys but without escaping `/`.
//!
//! Lists are one line. `inspect` is indented by two spaces, has a space on both sides of the colon and a
//! blank line in empty arrays and objects; scripts compare these bytes.

use std::fmt::Write;

use serde_json::Value;

use super::escape;

/// One line.
pub(crate) fn line(value: &Value) -> String {
    let mut text = String::new();
    write_value(&mut text, value, None);
    text
}

/// Indented.
pub(super) fn pretty(value: &Value) -> String {
    let mut text = String::new();
    write_value(&mut text, value, Some(0));
    text
}

/// `indent` is `None` on one line.
fn write_value(text: &mut String, value: &Value, indent: Option<usize>) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(flag) => text.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => text.push_str(&number.to_string()),
        Value::String(string) => write_string(text, string),
        Value::Array(items) => {
            write_members(text, ['[', ']'], items, indent, |text, item, indent| {
                write_value(text, item, indent);
            });
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(key, _)| *key);
            write_members(text, ['{', '}'], &members, indent, |text, (key, value), indent| {
                write_string(text, key);
                text.push_str(if indent.is_some() { " : " } else { ":" });
                write_value(text, value, indent);
            });
        }
    }
}

fn write_members<T>(
    text: &mut String,
    brackets: [char; 2],
    members: &[T],
    indent: Option<usize>,
    write_member: impl Fn(&mut String, &T, Option<usize>),
) {
    text.push(brackets[0]);
    let inner = indent.map(|indent| indent + 2);
    for (index, member) in members.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        break_line(text, inner);
        write_member(text, member, inner);
    }
    if members.is_empty() && indent.is_some() {
        text.push('\n');
    }
    break_line(text, indent);
    text.push(brackets[1]);
}

fn break_line(text: &mut String, indent: Option<usize>) {
    if let Some(indent) = indent {
        text.push('\n');
        text.extend(std::iter::repeat_n(' ', indent));
    }
}

fn write_string(text: &mut String, string: &str) {
    text.push('"');
    for character in string.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            // All of them are below U+10000, so that one escape holds each.
            character if escape::is_dangerous(character) => {
                // Writing into a String cannot fail.
                let _ = write!(text, "\\u{:04x}", u32::from(character));
            }
            character => text.push(character),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_sorted_and_slashes_stay() {
        let value = json!({"b": [1, true, null], "a": {"z": "x/y", "c": "\u{1b}\u{9b}\"\\\n"}});
        assert_eq!(
            line(&value),
            "{\"a\":{\"c\":\"\\u001b\\u009b\\\"\\\\\\n\",\"z\":\"x/y\"},\"b\":[1,true,null]}"
        );
        assert_eq!(serde_json::from_str::<Value>(&line(&value)).unwrap(), value);
        assert_eq!(serde_json::from_str::<Value>(&pretty(&value)).unwrap(), value);
    }

    #[test]
    fn pretty_is_foundations() {
        let value = json!([{"list": [], "id": "a", "map": {}}]);
        assert_eq!(
            pretty(&value),
            "[\n  {\n    \"id\" : \"a\",\n    \"list\" : [\n\n    ],\n    \"map\" : {\n\n    }\n  }\n]"
        );
        assert_eq!(line(&json!([])), "[]");
    }
}

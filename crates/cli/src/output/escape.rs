//! Text of strangers, made harmless for terminals.

use std::borrow::Cow;
use std::fmt::Write;

/// Shows control characters in place of sending them: C0, DEL and C1 (ECMA-48), which start escape
/// sequences, and the marks that reorder a line (Unicode UAX #9).
pub(crate) fn text(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_dangerous) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            character if is_dangerous(character) => {
                // Writing into a String cannot fail.
                let _ = write!(escaped, "\\u{{{:x}}}", u32::from(character));
            }
            character => escaped.push(character),
        }
    }
    Cow::Owned(escaped)
}

/// Whether a terminal might do more than draw it.
pub(crate) fn is_dangerous(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn f85_escape_sequences_are_shown_not_obeyed() {
        for (raw, expected) in [
            ("plain é 漢", "plain é 漢"),
            ("\u{1b}]52;c;aGk=\u{7}", "\\u{1b}]52;c;aGk=\\u{7}"),
            ("a\nb\tc\r", "a\\nb\\tc\\r"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\u{7f}", "\\u{7f}"),
            ("exe\u{202e}gnp", "exe\\u{202e}gnp"),
        ] {
            assert_eq!(text(raw), expected);
        }
    }
}

//! Text from the guest, made fit to be shown.

/// Long enough for any sentence of vminitd or of a panicking kernel.
const MAXIMUM_CHARACTERS: usize = 512;

/// One line without control characters, whose escape sequences could drive the reader's terminal.
pub(crate) fn sanitize(text: &str) -> String {
    let mut characters = text.chars().filter(|character| !character.is_control());
    let mut line: String = characters.by_ref().take(MAXIMUM_CHARACTERS).collect();
    if characters.next().is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f85_escape_sequences_lose_their_escape() {
        assert_eq!(sanitize("a\x1b]52;c;x\x07b\nc\u{9b}1m"), "a]52;c;xbc1m");
        assert_eq!(sanitize(&"x".repeat(10_000)).chars().count(), MAXIMUM_CHARACTERS + 1);
    }
}

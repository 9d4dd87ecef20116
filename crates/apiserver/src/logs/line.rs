//! One line of a log file.

/// stdout or stderr, by the numbers of the stream framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout = 1,
    Stderr = 2,
}

/// A parsed line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) date: &'a [u8],
    pub(super) stream: Stream,
    /// The container's own line ends here.
    pub(super) complete: bool,
    pub(super) content: &'a [u8],
}

/// Longest prefix before the content: date with nanoseconds and offset, stream, tag, three blanks.
pub(super) const LONGEST_PREFIX_BYTES: usize = 64;

/// Parses a line without its newline; `None` when it is none, for instance cut off by a power cut.
pub(super) fn parse(line: &[u8]) -> Option<Line<'_>> {
    let mut fields = line.splitn(4, |byte| *byte == b' ');
    let (date, stream, tag, content) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let stream = match stream {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return None,
    };
    let complete = match tag {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    Some(Line { date, stream, complete, content })
}

/// Appends a frame: stream, three zeros, length, content.
pub(super) fn frame(stream: Stream, parts: &[&[u8]], output: &mut Vec<u8>) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    // Pieces are bounded by the reader's buffer, far below 4 GiB.
    let Ok(length) = u32::try_from(length) else { return };
    if length == 0 {
        return;
    }
    output.extend_from_slice(&[stream as u8, 0, 0, 0]);
    output.extend_from_slice(&length.to_be_bytes());
    for part in parts {
        output.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_runtime_interface_are_understood() {
        let line = parse(b"2026-01-01T00:00:00.000000001Z stderr F a  b ").unwrap();
        let date = &b"2026-01-01T00:00:00.000000001Z"[..];
        assert_eq!(line, Line { date, stream: Stream::Stderr, complete: true, content: b"a  b " });
        assert_eq!(parse(b"d stdout P ").unwrap().content, b"");
        for broken in [&b""[..], b"d stdout F", b"d stdin F x", b"d stdout X x", b"\xff\xff"] {
            assert_eq!(parse(broken), None);
        }
    }

    #[test]
    fn frames_carry_their_length() {
        let mut output = Vec::new();
        frame(Stream::Stdout, &[b"ab", b"\n"], &mut output);
        assert_eq!(output, b"\x01\0\0\0\0\0\0\x03ab\n");
        frame(Stream::Stderr, &[b"", b""], &mut output);
        assert_eq!(output.len(), 11);
    }
}

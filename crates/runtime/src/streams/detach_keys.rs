//! Recognises the keys that let go of a terminal.

use std::borrow::Cow;

/// Looks for a sequence of bytes that may be split over reads. What could become the sequence is held
/// back until the next byte decides.
#[derive(Debug)]
pub(super) struct DetachKeys<'a> {
    sequence: &'a [u8],
    /// How many bytes of the sequence are held back.
    held: usize,
}

/// What came of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Typed<'b> {
    /// For the process.
    pub(super) bytes: Cow<'b, [u8]>,
    /// The sequence is complete; what was typed after it is dropped.
    pub(super) detached: bool,
}

impl<'a> DetachKeys<'a> {
    /// An empty sequence is never found.
    pub(super) fn new(sequence: &'a [u8]) -> Self {
        Self { sequence, held: 0 }
    }

    pub(super) fn pass<'b>(&mut self, bytes: &'b [u8]) -> Typed<'b> {
        let relevant = self.held > 0 || self.sequence.first().is_some_and(|first| bytes.contains(first));
        if !relevant {
            return Typed { bytes: Cow::Borrowed(bytes), detached: false };
        }
        let mut passed = Vec::with_capacity(self.held + bytes.len());
        for byte in bytes {
            if self.sequence[self.held] == *byte {
                self.held += 1;
                if self.held == self.sequence.len() {
                    self.held = 0;
                    return Typed { bytes: passed.into(), detached: true };
                }
            } else {
                self.shift(*byte, &mut passed);
            }
        }
        Typed { bytes: passed.into(), detached: false }
    }

    /// The sequence was broken by `byte`: keeps the longest end of what was typed that could still
    /// become it.
    fn shift(&mut self, byte: u8, passed: &mut Vec<u8>) {
        let mut typed = self.sequence[..self.held].to_vec();
        typed.push(byte);
        let keep = (0..typed.len())
            .rev()
            .find(|length| self.sequence.starts_with(&typed[typed.len() - length..]))
            .unwrap_or(0);
        passed.extend_from_slice(&typed[..typed.len() - keep]);
        self.held = keep;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Types the text in pieces of every size.
    fn pass(sequence: &[u8], text: &[u8]) -> (Vec<u8>, bool) {
        let mut outcomes = (1..=text.len()).map(|size| {
            let mut keys = DetachKeys::new(sequence);
            let mut passed = Vec::new();
            for piece in text.chunks(size) {
                let typed = keys.pass(piece);
                passed.extend_from_slice(&typed.bytes);
                if typed.detached {
                    return (passed, true);
                }
            }
            (passed, false)
        });
        let first = outcomes.next().unwrap();
        assert!(outcomes.all(|outcome| outcome == first), "pieces matter for {text:?}");
        first
    }

    #[test]
    fn f56_detach_keys_may_be_split_over_reads() {
        /// Keys, what is typed, what passes, whether it detaches.
        type Case = (&'static [u8], &'static [u8], &'static [u8], bool);
        let cases: [Case; 10] = [
            (b"\x10\x11", b"ls\n\x10\x11gone", b"ls\n", true),
            (b"\x10\x11", b"\x10a\x11", b"\x10a\x11", false),
            (b"\x10\x11", b"\x10\x10\x11", b"\x10", true),
            (b"\x10\x11", b"held\x10", b"held", false),
            (b"aab", b"aaab", b"a", true),
            (b"aab", b"aaxaab", b"aax", true),
            (b"abab", b"abaabab", b"aba", true),
            (b"x", b"ax", b"a", true),
            (b"", b"anything\x10\x11", b"anything\x10\x11", false),
            (b"\x10\x11", b"plain", b"plain", false),
        ];
        for (sequence, text, passed, detached) in cases {
            assert_eq!(pass(sequence, text), (passed.to_vec(), detached), "{sequence:?} in {text:?}");
        }
    }
}

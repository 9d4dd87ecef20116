//! The few parts of DNS messages that a forwarder must understand (RFC 1035, section 4).

use std::net::Ipv4Addr;

/// Longest message over UDP that we take or pass on; more than any resolver announces by EDNS.
pub(super) const MAXIMUM_UDP_BYTES: usize = 4096;
pub(super) const HEADER_BYTES: usize = 12;
/// Section 2.3.4.
const MAXIMUM_NAME_BYTES: usize = 255;
const MAXIMUM_LABEL_BYTES: usize = 63;
const TYPE_A: u16 = 1;
const TYPE_ANY: u16 = 255;
const CLASS_IN: u16 = 1;
/// Seconds; containers come and go.
const TIME_TO_LIVE_S: u32 = 5;

/// As many fit into 512 bytes beside the longest name, which every client takes.
const MAXIMUM_ADDRESSES: usize = 14;

/// Response codes of section 4.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Code {
    NoError = 0,
    FormatError = 1,
    ServerFailure = 2,
    NameError = 3,
    NotImplemented = 4,
}

/// The only question of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    /// Lower case, dots between labels; none at the end. Bytes that are no letters, digits, hyphens
    /// or underscores become U+FFFD, so that the name matches no container.
    pub(super) name: String,
    kind: u16,
    class: u16,
    /// Where the question ends in the message.
    end: usize,
}

/// Why a message gets no answer or a bad one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A response or too short to have an id: answering could start a loop.
    Silent,
    /// Answered with this code.
    Code(Code),
}

impl Question {
    /// Parses a query.
    pub(super) fn parse(message: &[u8]) -> Result<Self, Refusal> {
        if message.len() < HEADER_BYTES || message[2] & 0x80 != 0 {
            return Err(Refusal::Silent);
        }
        if message[2] & 0x78 != 0 {
            return Err(Refusal::Code(Code::NotImplemented));
        }
        if message[4..6] != [0, 1] {
            return Err(Refusal::Code(Code::FormatError));
        }
        Self::read(message).ok_or(Refusal::Code(Code::FormatError))
    }

    fn read(message: &[u8]) -> Option<Self> {
        let mut name = String::new();
        let mut position = HEADER_BYTES;
        loop {
            let length = usize::from(*message.get(position)?);
            position += 1;
            if length == 0 {
                break;
            }
            // Above are compression pointers, which have nothing to point to in the first name.
            if length > MAXIMUM_LABEL_BYTES || position + length - HEADER_BYTES > MAXIMUM_NAME_BYTES {
                return None;
            }
            if !name.is_empty() {
                name.push('.');
            }
            name.extend(message.get(position..position + length)?.iter().map(|byte| match byte {
                b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => char::from(*byte),
                b'A'..=b'Z' => char::from(byte.to_ascii_lowercase()),
                _ => char::REPLACEMENT_CHARACTER,
            }));
            position += length;
        }
        let rest = message.get(position..position + 4)?;
        Some(Self {
            name,
            kind: u16::from_be_bytes([rest[0], rest[1]]),
            class: u16::from_be_bytes([rest[2], rest[3]]),
            end: position + 4,
        })
    }

    /// The answer for a name that has these addresses: no data for other types than A.
    pub(super) fn answer(&self, query: &[u8], addresses: &[Ipv4Addr]) -> Vec<u8> {
        let mut message = self.empty_answer(query, Code::NoError);
        if self.class != CLASS_IN || (self.kind != TYPE_A && self.kind != TYPE_ANY) {
            return message;
        }
        for address in addresses.iter().take(MAXIMUM_ADDRESSES) {
            message[7] += 1;
            // The name is that of the question, at offset 12.
            message.extend([0xc0, 0x0c]);
            message.extend(TYPE_A.to_be_bytes());
            message.extend(CLASS_IN.to_be_bytes());
            message.extend(TIME_TO_LIVE_S.to_be_bytes());
            message.extend([0, 4]);
            message.extend(address.octets());
        }
        message
    }

    /// An answer without records.
    pub(super) fn empty_answer(&self, query: &[u8], code: Code) -> Vec<u8> {
        let mut message = response(query, code);
        message[5] = 1;
        message.extend(query.get(HEADER_BYTES..self.end).unwrap_or_default());
        message
    }

    /// Whether a message is a response to this question: resolvers must repeat it.
    pub(super) fn is_answered_by(&self, response: &[u8]) -> bool {
        response.len() >= HEADER_BYTES
            && response[2] & 0x80 != 0
            && (response[4..6] == [0, 1] && Self::read(response).as_ref() == Some(self)
                // Servers that cannot parse the query return the header alone.
                || response[4..6] == [0, 0] && response.len() == HEADER_BYTES && response[3] & 15 != 0)
    }
}

/// A header alone, for messages without a usable question.
pub(super) fn response(query: &[u8], code: Code) -> Vec<u8> {
    let mut header = vec![0; HEADER_BYTES];
    header[..2].copy_from_slice(&query[..2]);
    // Response, the query's "recursion desired"; recursion available.
    header[2] = 0x80 | query[2] & 0x01;
    header[3] = 0x80 | code as u8;
    header
}

/// Whether a UDP response asks to be fetched again over TCP.
#[cfg(test)]
pub(super) fn is_truncated(message: &[u8]) -> bool {
    message.get(2).is_some_and(|flags| flags & 0x02 != 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn query(name: &str, kind: u16) -> Vec<u8> {
        let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            message.push(u8::try_from(label.len()).unwrap());
            message.extend(label.as_bytes());
        }
        message.push(0);
        message.extend(kind.to_be_bytes());
        message.extend([0, 1]);
        message
    }

    #[test]
    fn known_names_have_an_address_and_no_other_data() {
        let address = Ipv4Addr::new(192, 168, 64, 5);
        let a = query("Web.Example", 1);
        let question = Question::parse(&a).unwrap();
        assert_eq!(question.name, "web.example");
        let answer = question.answer(&a, &[address]);
        assert!(question.is_answered_by(&answer) && !is_truncated(&answer));
        assert_eq!((answer[7], &answer[answer.len() - 4..]), (1, &address.octets()[..]));
        let aaaa = query("web.example", 28);
        let answer = Question::parse(&aaaa).unwrap().answer(&aaaa, &[address]);
        assert_eq!((answer[3] & 15, answer[7]), (0, 0));
    }

    #[test]
    fn loops_and_oversized_names_are_refused() {
        let mut pointer = query("x", 1);
        pointer.splice(HEADER_BYTES.., [0xc0, 0x0c, 0, 1, 0, 1]);
        assert_eq!(Question::parse(&pointer), Err(Refusal::Code(Code::FormatError)));
        let long = query(&[&"x".repeat(63)[..]; 5].join("."), 1);
        assert_eq!(Question::parse(&long), Err(Refusal::Code(Code::FormatError)));
        let mut response = query("x", 1);
        response[2] |= 0x80;
        assert_eq!(Question::parse(&response), Err(Refusal::Silent));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(question) = Question::parse(&bytes) {
                prop_assert!(question.name.chars().count() <= MAXIMUM_NAME_BYTES);
                question.answer(&bytes, &[Ipv4Addr::LOCALHOST]);
                question.is_answered_by(&bytes);
            }
        }
    }
}

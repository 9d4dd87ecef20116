//! The few parts of DNS messages that a forwarder must understand (RFC 1035, section 4).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest message over UDP that we take or pass on; more than any resolver announces by EDNS.
pub(super) const MAXIMUM_UDP_BYTES: usize = 4096;
pub(super) const HEADER_BYTES: usize = 12;
/// Section 2.3.4.
pub(super) const MAXIMUM_NAME_BYTES: usize = 255;
pub(super) const MAXIMUM_LABEL_BYTES: usize = 63;
const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const TYPE_OPT: u16 = 41;
pub(super) const TYPE_ANY: u16 = 255;
/// Type, class, life and length of a record.
const RECORD_BYTES: usize = 10;
pub(super) const CLASS_IN: u16 = 1;
/// Seconds; containers come and go.
pub(super) const TIME_TO_LIVE_S: u32 = 5;

/// As many bytes of addresses fit into 512 bytes beside the longest name, which every client takes.
const MAXIMUM_RECORDS_BYTES: usize = 14 * 16;

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) ttl_s: u32,
}

/// Response codes of section 4.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Code {
    NoError = 0,
    FormatError = 1,
    ServerFailure = 2,
    NameError = 3,
    NotImplemented = 4,
    Refused = 5,
}

/// The only question of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    /// Lower case, dots between labels; none at the end. Bytes that are no letters, digits, hyphens
    /// or underscores become U+FFFD, so that the name matches no container.
    pub(super) name: String,
    pub(super) kind: u16,
    pub(super) class: u16,
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

    /// The answer for a name that has these addresses: no data for other types than theirs.
    pub(super) fn answer(&self, query: &[u8], addresses: &[IpAddr]) -> Vec<u8> {
        let mut message = self.empty_answer(query, Code::NoError);
        let limit = message.len() + MAXIMUM_RECORDS_BYTES;
        for address in addresses {
            let (kind, octets) = match address {
                IpAddr::V4(address) => (TYPE_A, address.octets().to_vec()),
                IpAddr::V6(address) => (TYPE_AAAA, address.octets().to_vec()),
            };
            let is_wanted = self.class == CLASS_IN && (self.kind == kind || self.kind == TYPE_ANY);
            if !is_wanted || message.len() + 2 + RECORD_BYTES + octets.len() > limit {
                continue;
            }
            message[7] += 1;
            // The name is that of the question, at offset 12.
            message.extend([0xc0, 0x0c]);
            message.extend(kind.to_be_bytes());
            message.extend(CLASS_IN.to_be_bytes());
            message.extend(TIME_TO_LIVE_S.to_be_bytes());
            message.extend([0, if octets.len() == 4 { 4 } else { 16 }]);
            message.extend(octets);
        }
        message
    }

    /// The same question and nothing else: no further records, no options.
    pub(super) fn bare_query(&self, query: &[u8]) -> Vec<u8> {
        let mut message = vec![0; HEADER_BYTES];
        message[..2].copy_from_slice(&query[..2]);
        // Recursion desired; one question.
        message[2] = 0x01;
        message[5] = 1;
        message.extend(query.get(HEADER_BYTES..self.end).unwrap_or_default());
        message
    }

    /// The addresses among the answers of a response, with the shortest of their lives; `None` if
    /// it cannot be parsed.
    pub(super) fn addresses(&self, response: &[u8]) -> Option<Found> {
        let mut found = Found { addresses: Vec::new(), ttl_s: u32::MAX };
        let mut position = self.end;
        for _ in 0..u16::from_be_bytes([*response.get(6)?, *response.get(7)?]) {
            position = after_name(response, position)?;
            let fixed = response.get(position..position + RECORD_BYTES)?;
            let number = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
            position += RECORD_BYTES;
            let data = response.get(position..position + usize::from(number(8)))?;
            position += data.len();
            found.ttl_s = found.ttl_s.min(u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]));
            match (number(0), number(2), data) {
                (TYPE_A, CLASS_IN, &[a, b, c, d]) => found.addresses.push(Ipv4Addr::new(a, b, c, d).into()),
                (TYPE_AAAA, CLASS_IN, data) => {
                    let octets: [u8; 16] = data.try_into().ok()?;
                    found.addresses.push(Ipv6Addr::from(octets).into());
                }
                _ => {}
            }
        }
        Some(found)
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

/// Where a name ends that may be compressed.
fn after_name(message: &[u8], mut position: usize) -> Option<usize> {
    loop {
        match *message.get(position)? {
            0 => return Some(position + 1),
            0xc0.. => return Some(position + 2),
            length if usize::from(length) <= MAXIMUM_LABEL_BYTES => position += 1 + usize::from(length),
            _ => return None,
        }
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

/// Shows the life of each record of a response, in seconds, and puts what comes back in its place; `None`
/// if the response cannot be parsed.
pub(super) fn visit_lives(response: &mut [u8], mut visit: impl FnMut(u32) -> u32) -> Option<()> {
    let count = |at: usize| Some(u16::from_be_bytes([*response.get(at)?, *response.get(at + 1)?]));
    let (questions, records) = (count(4)?, [count(6)?, count(8)?, count(10)?]);
    let mut position = HEADER_BYTES;
    for _ in 0..questions {
        position = after_name(response, position)?.checked_add(4)?;
    }
    for _ in 0..records.into_iter().map(u32::from).sum::<u32>() {
        position = after_name(response, position)?;
        let fixed = response.get_mut(position..position + RECORD_BYTES)?;
        let number = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
        let (kind, length) = (number(0), usize::from(number(8)));
        // The options of RFC 6891 have flags there.
        if kind != TYPE_OPT {
            let life_s = u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
            fixed[4..8].copy_from_slice(&visit(life_s).to_be_bytes());
        }
        position = position.checked_add(RECORD_BYTES + length).filter(|end| *end <= response.len())?;
    }
    Some(())
}

/// Whether a UDP response asks to be fetched again over TCP.
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
        let answer = question.answer(&a, &[address.into()]);
        assert!(question.is_answered_by(&answer) && !is_truncated(&answer));
        assert_eq!(question.addresses(&answer), Some(Found { addresses: vec![address.into()], ttl_s: 5 }));
        assert_eq!(question.addresses(&answer[..answer.len() - 1]), None);
        assert_eq!(question.bare_query(&[&a[..], b"option"].concat()), a);
        assert_eq!((answer[7], &answer[answer.len() - 4..]), (1, &address.octets()[..]));
        let aaaa = query("web.example", 28);
        let question = Question::parse(&aaaa).unwrap();
        let answer = question.answer(&aaaa, &[address.into()]);
        assert_eq!((answer[3] & 15, answer[7]), (0, 0));
        let both = [address.into(), "fd00::5".parse().unwrap()];
        let answer = question.answer(&aaaa, &both);
        assert_eq!(question.addresses(&answer), Some(Found { addresses: vec![both[1]], ttl_s: 5 }));
        let many = question.answer(&aaaa, &[both[1]; 99]);
        assert!(many.len() <= 512 && question.addresses(&many).unwrap().addresses.len() > 5);
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
                question.answer(&bytes, &[Ipv4Addr::LOCALHOST.into()]);
                question.is_answered_by(&bytes);
                let _ = question.addresses(&bytes);
            }
            let _ = visit_lives(&mut bytes.clone(), |life_s| life_s);
        }
    }
}

//! Questions about who has an address: RFC 1035, section 3.5, and RFC 3596, section 2.5.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::message::{
    CLASS_IN, Code, MAXIMUM_LABEL_BYTES, MAXIMUM_NAME_BYTES, Question, TIME_TO_LIVE_S, TYPE_ANY,
};

const TYPE_PTR: u16 = 12;

impl Question {
    /// The address whose names are asked for, if that is the question.
    pub(super) fn asked_address(&self) -> Option<IpAddr> {
        if self.class != CLASS_IN || ![TYPE_PTR, TYPE_ANY].contains(&self.kind) {
            return None;
        }
        if let Some(reversed) = self.name.strip_suffix(".in-addr.arpa") {
            // Which refuses further digits and labels.
            let reversed: Ipv4Addr = reversed.parse().ok()?;
            let [a, b, c, d] = reversed.octets();
            return Some(Ipv4Addr::new(d, c, b, a).into());
        }
        let mut nibbles = self.name.strip_suffix(".ip6.arpa")?.split('.');
        let mut bits = 0;
        for place in 0..32 {
            let nibble = nibbles.next().filter(|nibble| nibble.len() == 1)?;
            bits |= u128::from_str_radix(nibble, 16).ok()? << (4 * place);
        }
        nibbles.next().is_none().then(|| Ipv6Addr::from_bits(bits).into())
    }

    /// The answer for an address that these names stand for; there is none of that name without them.
    pub(super) fn answer_with_names(&self, query: &[u8], names: &[String]) -> Vec<u8> {
        let names: Vec<Vec<u8>> = names.iter().filter_map(|name| encoded(name)).collect();
        if names.is_empty() {
            return self.empty_answer(query, Code::NameError);
        }
        let mut message = self.empty_answer(query, Code::NoError);
        for name in &names {
            let Ok(length) = u16::try_from(name.len()) else { continue };
            message[7] += 1;
            // The name is that of the question, at offset 12.
            message.extend([0xc0, 0x0c]);
            message.extend(TYPE_PTR.to_be_bytes());
            message.extend(CLASS_IN.to_be_bytes());
            message.extend(TIME_TO_LIVE_S.to_be_bytes());
            message.extend(length.to_be_bytes());
            message.extend(name);
        }
        message
    }
}

/// A name as messages have it; not every name of a container can be written so.
fn encoded(name: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(name.len() + 2);
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| *length > 0)?;
        if label.len() > MAXIMUM_LABEL_BYTES {
            return None;
        }
        bytes.push(length);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    (bytes.len() <= MAXIMUM_NAME_BYTES).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: &str, kind: u8) -> Option<IpAddr> {
        let mut query = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        query.extend(encoded(name).unwrap());
        query.extend([0, kind, 0, 1]);
        Question::parse(&query).unwrap().asked_address()
    }

    #[test]
    fn addresses_are_read_backwards_and_nothing_else_is_one() {
        assert_eq!(asked("5.64.168.192.IN-ADDR.arpa", 12), Some([192, 168, 64, 5].into()));
        let six = format!("5.{}0.0.d.f.ip6.arpa", "0.".repeat(27));
        assert_eq!(asked(&six, 12), "fd00::5".parse().ok());
        assert_eq!(asked("5.64.168.192.in-addr.arpa", 1), None);
        for other in
            ["64.168.192", "1.5.64.168.192", "05.64.168.192", "256.64.168.192", "x.64.168.192", "-1.1.1.1"]
        {
            assert_eq!(asked(&format!("{other}.in-addr.arpa"), 12), None, "{other}");
        }
        for other in ["0.0.d.f", &"0.".repeat(33)[..65], &"+.".repeat(32)[..63], &"00.".repeat(32)[..95]] {
            assert_eq!(asked(&format!("{other}.ip6.arpa"), 12), None, "{other}");
        }
    }

    #[test]
    fn names_that_cannot_be_written_are_left_out() {
        for name in ["", "a..b", &"x".repeat(64), &vec!["x".repeat(60); 5].join(".")] {
            assert_eq!(encoded(name), None, "{name}");
        }
        assert_eq!(encoded("a.bc").unwrap(), b"\x01a\x02bc\0");
    }
}

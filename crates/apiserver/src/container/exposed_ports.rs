//! Ports that a container listens on, and how they are published without being named.

use std::ops::RangeInclusive;

use bulkhead_api::container::PublishedPort;
use bulkhead_api::error::ApiError;

use crate::error::invalid;

/// Where all are published: any free port of every IPv4 address.
const HOST_ADDRESS: &str = "0.0.0.0";
const ANY_FREE: u16 = 0;

/// Most ports or ranges that an image, or a request, can expose: an image's configuration has room for
/// hundreds of thousands.
const MAXIMUM_ENTRIES: usize = 1000;

/// Checks `port[-port][/tcp|udp]`.
pub(crate) fn validate(exposed: &[String]) -> Result<(), ApiError> {
    expect_few(exposed, "a container")?;
    exposed.iter().try_for_each(|text| parse(text).map(drop))
}

/// Adds what is exposed and not published yet.
pub(crate) fn publish(
    mut published: Vec<PublishedPort>,
    of_image: &[String],
    further: &[String],
) -> Result<Vec<PublishedPort>, ApiError> {
    expect_few(of_image, "an image")?;
    expect_few(further, "a container")?;
    let further = further.iter().map(|text| parse(text)).collect::<Result<Vec<_>, _>>()?;
    // Of what an image says, all that can be published is: it may expose SCTP, too.
    let of_image = of_image.iter().filter_map(|text| parse(text).ok());
    let wanted: Vec<_> = further.into_iter().chain(of_image).collect();
    for protocol in ["tcp", "udp"] {
        let mut ports = PortSet::new();
        for (_, range) in wanted.iter().filter(|(of, _)| *of == protocol) {
            ports.set(range.clone(), true);
        }
        for range in published.iter().filter(|range| range.proto == protocol && range.count > 0) {
            let last = range.container_port.saturating_add(range.count - 1);
            ports.set(range.container_port..=last, false);
        }
        // Those that follow each other are one range, of which there can only be so many.
        published.extend(ports.ranges().map(|range| PublishedPort {
            host_address: HOST_ADDRESS.to_owned(),
            host_port: ANY_FREE,
            container_port: *range.start(),
            proto: protocol.to_owned(),
            count: range.end() - range.start() + 1,
        }));
    }
    Ok(published)
}

fn expect_few(exposed: &[String], whose: &str) -> Result<(), ApiError> {
    if exposed.len() <= MAXIMUM_ENTRIES {
        return Ok(());
    }
    Err(invalid(format!(
        "{whose} can expose at most {MAXIMUM_ENTRIES} ports or ranges, and here are {}",
        exposed.len()
    )))
}

/// Ports of one protocol: ranges cost the same however much of them is there already.
struct PortSet(Vec<bool>);

impl PortSet {
    fn new() -> Self {
        Self(vec![false; usize::from(u16::MAX) + 1])
    }

    fn set(&mut self, range: RangeInclusive<u16>, is_in: bool) {
        if let Some(ports) = self.0.get_mut(usize::from(*range.start())..=usize::from(*range.end())) {
            ports.fill(is_in);
        }
    }

    fn ranges(&self) -> impl Iterator<Item = RangeInclusive<u16>> {
        let mut ports = (1..=u16::MAX).filter(|port| self.0[usize::from(*port)]).peekable();
        std::iter::from_fn(move || {
            let first = ports.next()?;
            let mut last = first;
            while let Some(next) = ports.next_if(|next| *next == last + 1) {
                last = next;
            }
            Some(first..=last)
        })
    }
}

fn parse(text: &str) -> Result<(&'static str, RangeInclusive<u16>), ApiError> {
    let wrong = || {
        let shown: String = text.chars().take(64).flat_map(char::escape_default).collect();
        invalid(format!("'{shown}' is no port to expose: expected port[-port][/tcp|udp]"))
    };
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol {
        _ if protocol.eq_ignore_ascii_case("tcp") => "tcp",
        _ if protocol.eq_ignore_ascii_case("udp") => "udp",
        _ => return Err(wrong()),
    };
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    // A sign or zeros before it would give one port many names.
    let port = |text: &str| match text.bytes().next() {
        Some(b'1'..=b'9') => text.parse::<u16>().map_err(|_| wrong()),
        _ => Err(wrong()),
    };
    let (first, last) = (port(first)?, port(last)?);
    if first > last { Err(wrong()) } else { Ok((protocol, first..=last)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn what_is_exposed_is_published_once() {
        let explicit = PublishedPort {
            host_address: "127.0.0.1".to_owned(),
            host_port: 8080,
            container_port: 80,
            proto: "tcp".to_owned(),
            count: 2,
        };
        let image = texts(&["80/tcp", "53/udp", "80/udp", "443", "5000/sctp", "0/tcp", "\u{1b}"]);
        let further = texts(&["443/TCP", "8000-8002", "81"]);
        let published = publish(vec![explicit.clone()], &image, &further).unwrap();
        assert_eq!(published[0], explicit);
        let rest: Vec<_> = published[1..]
            .iter()
            .map(|port| (port.proto.as_str(), port.container_port, port.count))
            .collect();
        assert_eq!(rest, [("tcp", 443, 1), ("tcp", 8000, 3), ("udp", 53, 1), ("udp", 80, 1)]);
        assert!(published[1..].iter().all(|port| port.host_port == 0 && port.host_address == "0.0.0.0"));
        let all = publish(Vec::new(), &[], &texts(&["1-65535"])).unwrap();
        assert_eq!((all.len(), all[0].count), (1, 65535));
    }

    /// What each port of each range costs something for stalls the service for minutes.
    #[test]
    fn f71_many_wide_ranges_cost_little() {
        let wide: Vec<String> =
            (0..MAXIMUM_ENTRIES).map(|index| format!("{}-65535/tcp", index + 1)).collect();
        let published = publish(Vec::new(), &wide, &wide).unwrap();
        assert_eq!((published.len(), published[0].container_port, published[0].count), (1, 1, 65535));
        let many = vec!["80".to_owned(); MAXIMUM_ENTRIES + 1];
        for outcome in [
            publish(Vec::new(), &many, &[]).map(drop),
            publish(Vec::new(), &[], &many).map(drop),
            validate(&many),
        ] {
            assert!(outcome.unwrap_err().message.contains("at most 1000 ports or ranges"));
        }
    }

    #[test]
    fn f71_what_is_no_port_is_refused() {
        for text in [
            "",
            "x",
            "0",
            "80/sctp",
            "65536",
            "90-80",
            "80-",
            "-80",
            "80/",
            "+80",
            "080",
            "1-+80",
            "0001-65535",
        ] {
            assert!(validate(&texts(&[text])).is_err(), "{text:?}");
        }
        assert!(validate(&texts(&["80", "80/udp", "80-90/tcp"])).is_ok());
    }
}

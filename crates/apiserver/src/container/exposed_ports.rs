//! Ports that a container listens on, and how they are published without being named.

use std::collections::BTreeSet;

use bulkhead_api::container::PublishedPort;
use bulkhead_api::error::ApiError;

use crate::error::invalid;

/// Where all are published: any free port of every IPv4 address.
const HOST_ADDRESS: &str = "0.0.0.0";
const ANY_FREE: u16 = 0;

/// Protocol and number.
type Port<'a> = (&'a str, u16);

/// Checks `port[-port][/tcp|udp]`.
pub(crate) fn validate(exposed: &[String]) -> Result<(), ApiError> {
    exposed.iter().try_for_each(|text| parse(text).map(drop))
}

/// Adds what is exposed and not published yet.
pub(crate) fn publish(
    mut published: Vec<PublishedPort>,
    of_image: &[String],
    further: &[String],
) -> Result<Vec<PublishedPort>, ApiError> {
    let mut wanted: BTreeSet<Port<'_>> = BTreeSet::new();
    for text in further {
        let (protocol, ports) = parse(text)?;
        wanted.extend(ports.map(|port| (protocol, port)));
    }
    // Of what an image says, all that can be published is: it may expose SCTP, too.
    for (protocol, ports) in of_image.iter().filter_map(|text| parse(text).ok()) {
        wanted.extend(ports.map(|port| (protocol, port)));
    }
    let is_published = |(protocol, port): &Port<'_>| {
        published.iter().any(|range| {
            let offset = port.checked_sub(range.container_port);
            range.proto == *protocol && offset.is_some_and(|offset| offset < range.count)
        })
    };
    wanted.retain(|port| !is_published(port));
    let first = published.len();
    for (protocol, port) in wanted {
        // Those that follow each other are one range, of which there can only be so many.
        match published.get_mut(first..).and_then(<[_]>::last_mut) {
            Some(range)
                if range.proto == protocol && range.container_port.checked_add(range.count) == Some(port) =>
            {
                range.count += 1;
            }
            _ => published.push(PublishedPort {
                host_address: HOST_ADDRESS.to_owned(),
                host_port: ANY_FREE,
                container_port: port,
                proto: protocol.to_owned(),
                count: 1,
            }),
        }
    }
    Ok(published)
}

fn parse(text: &str) -> Result<(&'static str, std::ops::RangeInclusive<u16>), ApiError> {
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
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(wrong);
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

    #[test]
    fn f71_what_is_no_port_is_refused() {
        for text in ["", "x", "0", "80/sctp", "65536", "90-80", "80-", "-80", "80/", "+80x"] {
            assert!(validate(&texts(&[text])).is_err(), "{text:?}");
        }
        assert!(validate(&texts(&["80", "80/udp", "80-90/tcp"])).is_ok());
    }
}

//! `--publish-socket host:container[:mode]`

use std::str::FromStr;

use super::mount::parse_mode;
use super::{InvalidValue, invalid, paths};

/// A socket of the container on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublishSocket {
    pub(crate) host: String,
    pub(crate) container: String,
    /// Mode bits of the host's socket.
    pub(crate) permissions: Option<u32>,
}

impl FromStr for PublishSocket {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        match text.split_once(':') {
            Some((host, container)) if !host.is_empty() => {
                let (container, mode) = match container.split_once(':') {
                    Some((container, mode)) => (container, Some(parse_mode(mode)?)),
                    None => (container, None),
                };
                Ok(Self { host: host.to_owned(), container: paths::absolute(container)?, permissions: mode })
            }
            _ => invalid("expected host-path:container-path"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets() {
        let socket: PublishSocket = "./a.sock:/run/b.sock".parse().unwrap();
        assert_eq!((socket.host.as_str(), socket.container.as_str()), ("./a.sock", "/run/b.sock"));
        assert_eq!(socket.permissions, None);
        let socket: PublishSocket = "/a:/b:660".parse().unwrap();
        assert_eq!(socket.permissions, Some(0o660));
        for text in ["", "/a", ":/b", "/a:b", "/a:", "/a:/b:", "/a:/b:rw"] {
            assert!(text.parse::<PublishSocket>().is_err(), "{text:?}");
        }
    }
}

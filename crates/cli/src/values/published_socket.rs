//! `--publish-socket host:container`

use std::str::FromStr;

use super::{InvalidValue, invalid, paths};

/// A socket of the container on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublishSocket {
    pub(crate) host: String,
    pub(crate) container: String,
}

impl FromStr for PublishSocket {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        match text.split_once(':') {
            Some((host, container)) if !host.is_empty() => {
                Ok(Self { host: host.to_owned(), container: paths::absolute(container)? })
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
        for text in ["", "/a", ":/b", "/a:b", "/a:"] {
            assert!(text.parse::<PublishSocket>().is_err(), "{text:?}");
        }
    }
}

//! `--device PATH[:PATH][:rwm]`

use std::str::FromStr;

use bulkhead_api::container::Device;

use crate::arguments::Elsewhere;

/// In every container.
const ALWAYS: [&str; 6] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

/// A device of the machine's own kernel, where it is not there anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeviceFlag(pub(crate) Option<Device>);

impl FromStr for DeviceFlag {
    type Err = Elsewhere;

    fn from_str(text: &str) -> Result<Self, Elsewhere> {
        let mut parts = text.split(':');
        let path = parts.next().unwrap_or_default();
        let is_plain = match (parts.next(), parts.next(), parts.next()) {
            (None, None, None) => true,
            (Some(place), None, None) => place == path || is_access(place),
            (Some(place), Some(access), None) => place == path && is_access(access),
            _ => false,
        };
        match path.parse() {
            Ok(device) if is_plain => Ok(Self(Some(device))),
            Err(_) if is_plain && ALWAYS.contains(&path) => Ok(Self(None)),
            _ => Err(Elsewhere(
                "a container has a kernel of its own, and no device of this host: there are /dev/fuse and \
                 /dev/net/tun, under these names; files, folders and sockets are shared with --volume",
            )),
        }
    }
}

/// Docker's letters; what is read can be written here, too.
fn is_access(text: &str) -> bool {
    matches!(text, "rwm" | "rw")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_of_the_machine_are_taken() {
        let parse = |text: &str| text.parse::<DeviceFlag>().ok().map(|DeviceFlag(device)| device);
        for text in ["/dev/fuse", "/dev/fuse:/dev/fuse", "/dev/fuse:rwm", "/dev/fuse:/dev/fuse:rw"] {
            assert_eq!(parse(text), Some(Some(Device::Fuse)), "{text}");
        }
        assert_eq!(parse("/dev/net/tun"), Some(Some(Device::Tun)));
        assert_eq!(parse("/dev/null"), Some(None));
        for text in
            ["", "/dev/kvm", "/dev/fuse:/dev/other", "/dev/fuse:r", "/dev/fuse:/dev/fuse:rw:x", "vendor=x"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}

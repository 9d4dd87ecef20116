//! Sizes such as `512m`: powers of 1024.

use std::str::FromStr;

use bulkhead_api::size::parse_bytes;

use super::{InvalidValue, invalid};

/// Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemorySize(u64);

impl MemorySize {
    pub(crate) fn bytes(self) -> u64 {
        self.0
    }

    /// Whole MiB, the granularity of a machine's memory.
    pub(crate) fn whole_mebibytes(self) -> u64 {
        self.0 >> 20 << 20
    }
}

impl FromStr for MemorySize {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        match parse_bytes(text) {
            Some(0) => invalid("a size must be greater than 0"),
            Some(bytes) => Ok(Self(bytes)),
            None => invalid("not a size: expected a number with optional suffix K, M, G, T or P"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_no_size() {
        for (text, expected) in [("512m", Some(512 << 20)), ("0", None), ("lots", None)] {
            assert_eq!(text.parse::<MemorySize>().ok().map(MemorySize::bytes), expected, "{text:?}");
        }
        assert_eq!("1048577".parse::<MemorySize>().unwrap().whole_mebibytes(), 1 << 20);
    }
}

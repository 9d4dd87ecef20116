//! Sizes such as `512m`: powers of 1024.

use std::str::FromStr;

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
        match parse(text) {
            Some(0) => invalid("a size must be greater than 0"),
            Some(bytes) => Ok(Self(bytes)),
            None => invalid("not a size: expected a number with optional suffix K, M, G, T or P"),
        }
    }
}

fn parse(text: &str) -> Option<u64> {
    let number_length = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, unit) = text.split_at(number_length);
    let shift = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    // Nine digits tell more than any fraction that people write, and keep the product within 128 bits.
    if whole.is_empty() || fraction.len() > 9 || (number.contains('.') && fraction.is_empty()) {
        return None;
    }
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let scaled = format!("{whole}{fraction}").parse::<u64>().ok()?;
    u64::try_from((u128::from(scaled) << shift) / scale).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let table: [(&str, Option<u64>); 24] = [
            ("1", Some(1)),
            ("1024", Some(1024)),
            ("1b", Some(1)),
            ("1k", Some(1 << 10)),
            ("512m", Some(512 << 20)),
            ("512M", Some(512 << 20)),
            ("2048MB", Some(2048 << 20)),
            ("200MiB", Some(200 << 20)),
            ("1g", Some(1 << 30)),
            ("1.5G", Some(3 << 29)),
            ("0.25g", Some(1 << 28)),
            ("2 GB", Some(2 << 30)),
            ("3T", Some(3 << 40)),
            ("4p", Some(4 << 50)),
            ("", None),
            ("0", None),
            ("g", None),
            ("1.g", None),
            (".5g", None),
            ("1..5g", None),
            ("-1g", None),
            ("1e3", None),
            ("lots", None),
            ("99999999p", None),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse::<MemorySize>().ok().map(MemorySize::bytes), expected, "{text:?}");
        }
        assert_eq!("1048577".parse::<MemorySize>().unwrap().whole_mebibytes(), 1 << 20);
    }
}

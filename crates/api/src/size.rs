//! Sizes as people write them, on the command line, in config.toml and in options: powers of 1024.

/// Bytes of `512m`, `1.5G`, `2048MB`, `200MiB` or `1073741824`; `None` if it is no size.
#[must_use]
pub fn parse_bytes(text: &str) -> Option<u64> {
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
    fn sizes_are_powers_of_1024() {
        let table: [(&str, Option<u64>); 26] = [
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
            ("0", Some(0)),
            ("g", None),
            ("1.g", None),
            (".5g", None),
            ("1..5g", None),
            ("-1g", None),
            ("1e3", None),
            ("lots", None),
            ("1ib", None),
            ("2 KB", Some(2048)),
            ("99999999p", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse_bytes(text), expected, "{text:?}");
        }
    }
}

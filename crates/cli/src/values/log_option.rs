//! `--log-opt`

use std::str::FromStr;

use bulkhead_api::log::{LogConfiguration, LogDriver, MOST_FILES, SMALLEST_FILE_BYTES};
use bulkhead_api::size::parse_bytes;

use super::{InvalidValue, invalid};

/// What a log of files has of Docker's options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogOption {
    MaximumFileBytes(u64),
    MaximumFiles(u32),
    /// What holds anyway.
    Given,
}

impl FromStr for LogOption {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let Some((name, value)) = text.split_once('=') else {
            return invalid("expected NAME=VALUE, as max-size=10m or max-file=3");
        };
        match name {
            "max-size" => match parse_bytes(value) {
                Some(bytes) if bytes >= SMALLEST_FILE_BYTES => Ok(Self::MaximumFileBytes(bytes)),
                // Docker's spelling of no bound, which would fill the host's disk.
                None if value == "-1" => invalid("a log has a bound: name a large one"),
                Some(_) => invalid("a log file has at least 1k"),
                None => invalid("not a size: expected a number with optional suffix k, m or g"),
            },
            "max-file" => match value.parse() {
                Ok(count @ 1..=MOST_FILES) => Ok(Self::MaximumFiles(count)),
                _ => invalid(format!("a log has from 1 to {MOST_FILES} files")),
            },
            "mode" if value == "blocking" => Ok(Self::Given),
            "compress" if value == "false" => Ok(Self::Given),
            "mode" | "max-buffer-size" => invalid("output is written to the log as it comes: mode=blocking"),
            "compress" => invalid("log files are not compressed: bound them with max-size and max-file"),
            "labels" | "labels-regex" | "env" | "env-regex" | "tag" => invalid(
                "a log has the output and its times only: `container inspect` shows labels and environment",
            ),
            _ => invalid("the log options are max-size=SIZE and max-file=NUMBER"),
        }
    }
}

/// What comes of both flags; the last word on each option counts.
pub(crate) fn configuration(
    driver: Option<LogDriver>,
    options: &[LogOption],
) -> Result<LogConfiguration, InvalidValue> {
    let mut log = LogConfiguration { driver: driver.unwrap_or_default(), ..LogConfiguration::default() };
    if log.keeps_nothing() && !options.is_empty() {
        return invalid("--log-driver none keeps nothing, and has no --log-opt");
    }
    for option in options {
        match option {
            LogOption::MaximumFileBytes(bytes) => log.maximum_file_bytes = Some(*bytes),
            LogOption::MaximumFiles(count) => log.maximum_files = Some(*count),
            LogOption::Given => {}
        }
    }
    Ok(log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_taken_and_what_is_not_kept_is_told() {
        let parse = |text: &str| text.parse::<LogOption>();
        assert_eq!(parse("max-size=10m"), Ok(LogOption::MaximumFileBytes(10 << 20)));
        assert_eq!(parse("max-file=3"), Ok(LogOption::MaximumFiles(3)));
        assert_eq!(parse("mode=blocking"), Ok(LogOption::Given));
        for (text, reason) in [
            ("max-size", "NAME=VALUE"),
            ("max-size=-1", "a large one"),
            ("max-size=1", "at least 1k"),
            ("max-size=lots", "not a size"),
            ("max-file=0", "from 1 to"),
            ("mode=non-blocking", "as it comes"),
            ("tag={{.Name}}", "container inspect"),
            ("syslog-address=udp://host", "max-size=SIZE"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        let options = [LogOption::MaximumFiles(3), LogOption::MaximumFiles(4)];
        assert_eq!(configuration(None, &options).unwrap().maximum_files, Some(4));
        assert!(configuration(Some(LogDriver::None), &options).is_err());
    }
}

//! Where the output of a container is kept, and how much of it.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Of a container that asks for nothing; also the size of one file where only their number is asked for.
const DEFAULT_FILE_BYTES: u64 = 64 << 20;
const DEFAULT_FILES: u32 = 2;
/// Docker's for its driver `local`.
const LOCAL_FILE_BYTES: u64 = 20 << 20;
const LOCAL_FILES: u32 = 5;

/// Fewer bytes would hold no line.
pub const SMALLEST_FILE_BYTES: u64 = 1 << 10;
/// Each is renamed when one is full.
pub const MOST_FILES: u32 = 1000;

/// Docker's names for what keeps the output. There is one format, so that the first two differ in bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogDriver {
    /// Files.
    #[default]
    JsonFile,
    /// Files, of which there are more and smaller ones unless others are asked for.
    Local,
    /// Nothing does.
    None,
}

impl LogDriver {
    /// Docker's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::JsonFile => "json-file",
            Self::Local => "local",
            Self::None => "none",
        }
    }
}

/// Not one of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a container's output is kept in files of this host: the log driver is json-file, local or none; \
     others can read along with `container logs --follow`"
)]
pub struct UnknownLogDriver;

impl FromStr for LogDriver {
    type Err = UnknownLogDriver;

    fn from_str(text: &str) -> Result<Self, UnknownLogDriver> {
        [Self::JsonFile, Self::Local, Self::None]
            .into_iter()
            .find(|driver| driver.as_str() == text)
            .ok_or(UnknownLogDriver)
    }
}

/// What is kept of a container's output, as it was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LogConfiguration {
    /// What keeps it.
    pub driver: LogDriver,
    /// Most bytes of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum_file_bytes: Option<u64>,
    /// Most files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum_files: Option<u32>,
}

/// What comes of a [`LogConfiguration`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogBounds {
    /// Most bytes of a file.
    pub file_bytes: u64,
    /// Most files; 0 when nothing is kept.
    pub files: u32,
}

impl LogConfiguration {
    /// Whether nothing was asked for.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether there is nothing to read.
    #[must_use]
    pub fn keeps_nothing(&self) -> bool {
        self.driver == LogDriver::None
    }

    /// In files and bytes. As in Docker, who asks for a size alone gets one file.
    #[must_use]
    pub fn bounds(&self) -> LogBounds {
        let (file_bytes, files) = match self.driver {
            LogDriver::None => return LogBounds { file_bytes: 0, files: 0 },
            LogDriver::Local => (LOCAL_FILE_BYTES, LOCAL_FILES),
            LogDriver::JsonFile if self.maximum_file_bytes.is_some() => (DEFAULT_FILE_BYTES, 1),
            LogDriver::JsonFile => (DEFAULT_FILE_BYTES, DEFAULT_FILES),
        };
        let file_bytes = self.maximum_file_bytes.unwrap_or(file_bytes);
        match self.maximum_files.unwrap_or(files) {
            // A single file would be empty whenever it was full: two halves always hold something.
            1 => LogBounds { file_bytes: file_bytes.div_ceil(2), files: 2 },
            files => LogBounds { file_bytes, files },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_those_that_were_asked_for() {
        use LogDriver::{JsonFile, Local, None as Nothing};
        let mebibytes = |count: u64| count << 20;
        for (driver, maximum_file_bytes, maximum_files, file_bytes, files) in [
            (JsonFile, None, None, mebibytes(64), 2),
            (JsonFile, Some(mebibytes(10)), None, mebibytes(5), 2),
            (JsonFile, Some(mebibytes(10)), Some(3), mebibytes(10), 3),
            (JsonFile, None, Some(4), mebibytes(64), 4),
            (Local, None, None, mebibytes(20), 5),
            (Local, Some(mebibytes(1)), None, mebibytes(1), 5),
            (Local, Some(mebibytes(1)), Some(1), mebibytes(1) / 2, 2),
            (Nothing, None, None, 0, 0),
        ] {
            let log = LogConfiguration { driver, maximum_file_bytes, maximum_files };
            assert_eq!(log.bounds(), LogBounds { file_bytes, files }, "{log:?}");
        }
    }

    #[test]
    fn drivers_have_dockers_names() {
        assert_eq!("json-file".parse(), Ok(LogDriver::JsonFile));
        assert_eq!("none".parse(), Ok(LogDriver::None));
        assert_eq!("syslog".parse::<LogDriver>(), Err(UnknownLogDriver));
        assert_eq!(serde_json::to_string(&LogDriver::JsonFile).unwrap(), "\"json-file\"");
    }
}

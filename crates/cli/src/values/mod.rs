//! Types of flag values. Each parses from the text of the command line and can only hold what is valid.

pub(crate) mod age;
pub(crate) mod boolean;
pub(crate) mod capability;
pub(crate) mod container_name;
pub(crate) mod device;
pub(crate) mod duration;
pub(crate) mod egress;
pub(crate) mod environment_file;
pub(crate) mod filter;
pub(crate) mod hosts;
pub(crate) mod key_value;
pub(crate) mod label_file;
pub(crate) mod line_count;
pub(crate) mod link;
pub(crate) mod location;
pub(crate) mod log_option;
pub(crate) mod memory_size;
pub(crate) mod moment;
pub(crate) mod mount;
pub(crate) mod network;
pub(crate) mod paths;
pub(crate) mod patience;
pub(crate) mod pids_limit;
pub(crate) mod platform;
pub(crate) mod port;
pub(crate) mod process_columns;
pub(crate) mod processors;
pub(crate) mod published_socket;
pub(crate) mod resource_limit;
pub(crate) mod security_option;
pub(crate) mod tmpfs;
pub(crate) mod volume;
pub(crate) mod volumes_from;

use thiserror::Error;

/// Why a text is no valid value; clap puts the flag and the text before it.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub(crate) struct InvalidValue(pub(crate) String);

pub(crate) fn invalid<T>(message: impl Into<String>) -> Result<T, InvalidValue> {
    Err(InvalidValue(message.into()))
}

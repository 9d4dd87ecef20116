//! `config.toml`: what a user sets once instead of typing flags.
//!
//! Several files may have their say; for each key the first that has it wins. A file is refused as a
//! whole, with the line, if it has a key that nobody knows: a typing mistake must not look like a setting.
//!
//! ```
//! # use bulkhead_config::{Configuration, keys};
//! let file = bulkhead_config::Document::parse("/etc/config.toml".as_ref(), "[container]\ncpus = 2")?;
//! let configuration = Configuration::merge(&[file]);
//! assert_eq!(configuration.count(&keys::CONTAINER_CPUS), Some(2));
//! assert_eq!(configuration.size_bytes(&keys::CONTAINER_MEMORY), Some(1 << 30));
//! # Ok::<(), bulkhead_config::ConfigError>(())
//! ```

mod configuration;
mod copy;
mod document;
mod error;
pub mod keys;
mod registry_hosts;
mod suggestion;
mod value;

pub use configuration::{Configuration, Origin, Setting};
pub use copy::{publish_copy, read};
pub use document::Document;
pub use error::{ConfigError, Problem};
pub use registry_hosts::RegistryHost;
pub use value::Value;

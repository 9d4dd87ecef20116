//! Defaults that a configuration file may change.
//!
//! Read from `<app root>/config/config.toml`, then `<install root>/etc/container/config.toml`; for
//! each key the first file that has it wins.

use std::path::Path;

use anyhow::{Context, bail};
use bulkhead_paths::Directories;

/// The settings in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// CPUs of a container that asks for none.
    pub(crate) cpus: u32,
    /// Memory of a container that asks for none.
    pub(crate) memory_bytes: u64,
    /// Length of a container's writable disk; sparse.
    pub(crate) disk_bytes: u64,
    /// Completes image names without a registry.
    pub(crate) registry_domain: String,
    /// Hosts below it are spoken to without TLS; also the containers' domain.
    pub(crate) local_domain: Option<String>,
    /// Subnet of the default network.
    pub(crate) ipv4_subnet: Option<String>,
    /// Subnet of the default network.
    pub(crate) ipv6_subnet: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cpus: 4,
            memory_bytes: 1 << 30,
            disk_bytes: 64 << 30,
            registry_domain: bulkhead_oci::DEFAULT_REGISTRY.to_owned(),
            local_domain: None,
            ipv4_subnet: None,
            ipv6_subnet: None,
        }
    }
}

impl Settings {
    pub(crate) fn load(directories: &Directories) -> anyhow::Result<Self> {
        let mut tables = Vec::new();
        for path in [
            directories.app_root.join("config/config.toml"),
            directories.install_root.join("etc/container/config.toml"),
        ] {
            tables.extend(read(&path).with_context(|| format!("cannot use '{}'", path.display()))?);
        }
        Self::from_tables(&tables)
    }

    fn from_tables(tables: &[toml::Table]) -> anyhow::Result<Self> {
        let find =
            |section: &str, key: &str| tables.iter().find_map(|table| table.get(section)?.get(key)).cloned();
        let text = |section, key| match find(section, key) {
            None => Ok(None),
            Some(toml::Value::String(text)) => Ok(Some(text)),
            Some(_) => bail!("{section}.{key} must be a string"),
        };
        let size = |section, key, default| match text(section, key)? {
            None => Ok(default),
            Some(text) => parse_size(&text).with_context(|| format!("{section}.{key} is no size: '{text}'")),
        };
        let defaults = Self::default();
        Ok(Self {
            cpus: match find("container", "cpus") {
                None => defaults.cpus,
                Some(value) => value
                    .as_integer()
                    .and_then(|cpus| u32::try_from(cpus).ok())
                    .filter(|cpus| *cpus > 0)
                    .context("container.cpus must be a positive number")?,
            },
            memory_bytes: size("container", "memory", defaults.memory_bytes)?,
            disk_bytes: size("container", "diskSize", defaults.disk_bytes)?,
            registry_domain: text("registry", "domain")?.unwrap_or(defaults.registry_domain),
            local_domain: text("dns", "domain")?,
            ipv4_subnet: text("network", "subnet")?,
            ipv6_subnet: text("network", "subnetv6")?,
        })
    }
}

fn read(path: &Path) -> anyhow::Result<Option<toml::Table>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.parse()?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// "1g", "512MB", "1073741824": powers of 1024, as the command line has them.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim().to_ascii_lowercase().trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_file_that_has_a_key_wins() {
        let user = "[container]\ncpus = 2".parse().unwrap();
        let system = "[container]\ncpus = 8\nmemory = \"2g\"\n[dns]\ndomain = \"test\"".parse().unwrap();
        let settings = Settings::from_tables(&[user, system]).unwrap();
        assert_eq!((settings.cpus, settings.memory_bytes), (2, 2 << 30));
        assert_eq!(settings.local_domain.as_deref(), Some("test"));
        assert!(Settings::from_tables(&["[container]\ncpus = 0".parse().unwrap()]).is_err());
        assert!(Settings::from_tables(&["[container]\nmemory = 5".parse().unwrap()]).is_err());
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, expected) in [
            ("1g", Some(1 << 30)),
            ("512MiB", Some(512 << 20)),
            ("7", Some(7)),
            ("x", None),
            ("99999999p", None),
        ] {
            assert_eq!(parse_size(text), expected, "{text}");
        }
    }
}

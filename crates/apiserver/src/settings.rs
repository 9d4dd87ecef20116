//! Defaults that a configuration file may change.
//!
//! The user's file, else the copy of it that an earlier start left, then the installation's; for each key
//! the first file that has it wins.
//!
//! A file with a mistake keeps nobody from listing and stopping what there is: then what the user's file said
//! before holds, and whatever would go by the file is refused until it is mended.

use std::path::PathBuf;

use bulkhead_api::system::Property;
use bulkhead_config::{ConfigError, Configuration, Document, Origin, RegistryHost, Setting, Value, keys};
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
    /// How single registries are spoken to.
    pub(crate) registry_hosts: Vec<RegistryHost>,
    /// Hosts below it are spoken to without TLS; also the containers' domain.
    pub(crate) local_domain: Option<String>,
    /// Subnet of the default network.
    pub(crate) ipv4_subnet: Option<String>,
    /// Subnet of the default network.
    pub(crate) ipv6_subnet: Option<String>,
    /// The guest kernel, in place of the installation's.
    pub(crate) kernel: Option<PathBuf>,
    /// Image with the guest's init, of a container that asks for none.
    pub(crate) init_image: Option<String>,
    /// What is wrong with a file; its values do not hold.
    pub(crate) problem: Option<String>,
    /// Every value as `system property list` shows it.
    pub(crate) properties: Vec<Property>,
}

impl Default for Settings {
    fn default() -> Self {
        Self::from_configuration(&Configuration::merge(&[]))
    }
}

impl Settings {
    /// Reads the files; the user's is copied, so that what is in force can be looked up.
    pub(crate) fn load(directories: &Directories) -> Self {
        let mut problem = None;
        let mut or_problem = |outcome: Result<Option<Document>, ConfigError>| {
            outcome.unwrap_or_else(|error| {
                tracing::error!("{}", chain(&error));
                problem.get_or_insert_with(|| chain(&error));
                None
            })
        };
        let copy = directories.configuration_copy();
        let user = Directories::user_configuration()
            .and_then(|original| or_problem(bulkhead_config::publish_copy(&original, &copy)));
        // No file leaves no copy. Without a home, or with a mistake, what the user last said still holds.
        let user = user.or_else(|| bulkhead_config::read(&copy).ok().flatten());
        let installed = or_problem(bulkhead_config::read(&directories.installed_configuration()));
        let documents: Vec<_> = user.into_iter().chain(installed).collect();
        let mut settings = Self::from_configuration(&Configuration::merge(&documents));
        let kernel = settings.properties.iter_mut().find(|one| {
            one.value.is_null()
                && (&*one.section, &*one.key)
                    == (keys::KERNEL_BINARY_PATH.section, keys::KERNEL_BINARY_PATH.name)
        });
        if let Some(kernel) = kernel {
            kernel.value = directories.uml_kernel().to_string_lossy().into_owned().into();
        }
        settings.problem = problem;
        settings
    }

    /// What is wrong with the files as they are now.
    pub(crate) fn current_problem(directories: &Directories) -> Option<String> {
        let files =
            Directories::user_configuration().into_iter().chain([directories.installed_configuration()]);
        files.filter_map(|file| bulkhead_config::read(&file).err()).map(|error| chain(&error)).next()
    }

    /// The file that names the kernel; `None` for the installation's.
    pub(crate) fn kernel_origin(&self) -> Option<String> {
        let key = &keys::KERNEL_BINARY_PATH;
        let is_kernel = |one: &&Property| (&*one.section, &*one.key) == (key.section, key.name);
        let property = self.properties.iter().find(is_kernel);
        property.filter(|_| self.kernel.is_some()).map(|property| property.origin.clone())
    }

    fn from_configuration(configuration: &Configuration) -> Self {
        let text = |key| configuration.text(key).map(str::to_owned);
        // The keys without default are those that may be absent.
        Self {
            cpus: configuration.count(&keys::CONTAINER_CPUS).unwrap_or(1),
            memory_bytes: configuration.size_bytes(&keys::CONTAINER_MEMORY).unwrap_or(1 << 30),
            disk_bytes: configuration.size_bytes(&keys::CONTAINER_DISK_SIZE).unwrap_or(64 << 30),
            registry_domain: text(&keys::REGISTRY_DOMAIN)
                .unwrap_or_else(|| bulkhead_oci::DEFAULT_REGISTRY.to_owned()),
            registry_hosts: configuration.registry_hosts(&keys::REGISTRY_HOSTS).to_vec(),
            local_domain: text(&keys::DNS_DOMAIN),
            ipv4_subnet: text(&keys::NETWORK_SUBNET),
            ipv6_subnet: text(&keys::NETWORK_SUBNET_V6),
            kernel: text(&keys::KERNEL_BINARY_PATH).map(PathBuf::from),
            init_image: text(&keys::VMINIT_IMAGE),
            problem: None,
            properties: configuration.all().map(|(key, setting)| property(key, setting)).collect(),
        }
    }
}

/// In one line.
fn chain(error: &ConfigError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn property(key: &keys::Key, setting: Option<&Setting>) -> Property {
    Property {
        section: key.section.to_owned(),
        key: key.name.to_owned(),
        value: match setting.map(|setting| &setting.value) {
            None => serde_json::Value::Null,
            Some(Value::Count(count)) => (*count).into(),
            Some(Value::Flag(flag)) => (*flag).into(),
            Some(Value::RegistryHosts(hosts)) => {
                hosts.iter().map(|host| (host.name.clone(), registry_host(host))).collect()
            }
            Some(Value::Size { text, .. } | Value::Text(text)) => text.as_str().into(),
        },
        without_value: match (setting, key.default) {
            (None, keys::Default::Described(words)) => Some(words.to_owned()),
            _ => None,
        },
        origin: setting.map_or(&Origin::Default, |setting| &setting.origin).to_string(),
        without_effect: !key.has_effect,
    }
}

/// As the file has it.
fn registry_host(host: &RegistryHost) -> serde_json::Value {
    let RegistryHost { name: _, http, mirrors, certificate_authority } = host;
    let http = http.map(|http| ("http".to_owned(), serde_json::Value::Bool(http)));
    let mirrors = (!mirrors.is_empty()).then(|| ("mirrors".to_owned(), mirrors.clone().into()));
    let authority = certificate_authority.as_ref();
    let authority =
        authority.map(|path| ("certificateAuthority".to_owned(), path.to_string_lossy().into_owned().into()));
    [http, mirrors, authority].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_files_the_defaults_hold() {
        let settings = Settings::default();
        assert_eq!((settings.cpus, settings.memory_bytes, settings.disk_bytes), (4, 1 << 30, 64 << 30));
        assert_eq!(settings.registry_domain, bulkhead_oci::DEFAULT_REGISTRY);
        assert!(settings.properties.iter().all(|property| property.origin == "default"));
    }
}

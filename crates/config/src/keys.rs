//! Every key that a file may have.

use bulkhead_api::container::MINIMUM_MEMORY_BYTES;

/// What a value must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number of things, at least 1.
    Count,
    /// A number of bytes, or one with a suffix: `"512m"`.
    Size {
        /// The least that makes sense.
        minimum_bytes: u64,
    },
    /// true or false.
    Flag,
    /// Words.
    Text,
    /// Name of a domain.
    Domain,
    /// `registry.example.org:5000`
    RegistryHost,
    /// An absolute path.
    Path,
    /// An absolute path of a file that can be executed.
    Program,
    /// `registry.example.org/name:tag`
    Image,
    /// `"192.168.64.0/24"`
    Ipv4Subnet,
    /// `"fd00::/64"`
    Ipv6Subnet,
    /// `[registry.hosts."HOST"]`
    RegistryHosts,
    /// One of these words.
    OneOf(&'static [&'static str]),
}

/// What holds when no file has the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// Nothing.
    Absent,
    /// What no value says, in words.
    Described(&'static str),
    /// A number.
    Count(u32),
    /// A text, also that of a size.
    Text(&'static str),
}

/// One key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// `[section]`
    pub section: &'static str,
    /// Name within the section.
    pub name: &'static str,
    /// What its value must be.
    pub kind: Kind,
    /// Its value when no file has it.
    pub default: Default,
    /// Whether anything follows from it. A key of the compatible format whose feature does not exist
    /// here is accepted, so that a file can be shared, and said to be without effect.
    pub has_effect: bool,
}

const fn key(section: &'static str, name: &'static str, kind: Kind, default: Default) -> Key {
    Key { section, name, kind, default, has_effect: true }
}

const fn without_effect(section: &'static str, name: &'static str, kind: Kind) -> Key {
    Key { section, name, kind, default: Default::Absent, has_effect: false }
}

/// The file system takes some 20 MiB of it, most of them for its journal.
const MINIMUM_DISK_BYTES: u64 = 64 << 20;
const ANY_SIZE: Kind = Kind::Size { minimum_bytes: 1 };

/// CPUs of a container that asks for none.
pub const CONTAINER_CPUS: Key = key("container", "cpus", Kind::Count, Default::Count(4));
/// Memory of a container that asks for none.
pub const CONTAINER_MEMORY: Key =
    key("container", "memory", Kind::Size { minimum_bytes: MINIMUM_MEMORY_BYTES }, Default::Text("1g"));
/// Length of a container's writable disk, which is sparse; beyond the compatible keys.
pub const CONTAINER_DISK_SIZE: Key =
    key("container", "diskSize", Kind::Size { minimum_bytes: MINIMUM_DISK_BYTES }, Default::Text("64g"));
/// Domain of the containers' names; registries below it are spoken to without TLS.
pub const DNS_DOMAIN: Key = key("dns", "domain", Kind::Domain, Default::Described("none"));
/// The guest kernel.
pub const KERNEL_BINARY_PATH: Key =
    key("kernel", "binaryPath", Kind::Program, Default::Described("the installation's kernel"));
/// Subnet of the default network.
pub const NETWORK_SUBNET: Key =
    key("network", "subnet", Kind::Ipv4Subnet, Default::Described("one that is free"));
/// IPv6 subnet of the default network.
pub const NETWORK_SUBNET_V6: Key = key("network", "subnetv6", Kind::Ipv6Subnet, Default::Described("none"));
/// Completes image names without a registry.
pub const REGISTRY_DOMAIN: Key = key("registry", "domain", Kind::RegistryHost, Default::Text("docker.io"));
/// How single registries are spoken to; beyond the compatible keys.
pub const REGISTRY_HOSTS: Key = key("registry", "hosts", Kind::RegistryHosts, Default::Described("none"));
/// Image with the guest's init.
pub const VMINIT_IMAGE: Key =
    key("vminit", "image", Kind::Image, Default::Described("none: the installation's vminitd"));

/// All keys, in the order in which they are shown.
pub const ALL: &[Key] = &[
    without_effect("build", "rosetta", Kind::Flag),
    without_effect("build", "cpus", Kind::Count),
    without_effect("build", "memory", ANY_SIZE),
    without_effect("build", "image", Kind::Text),
    CONTAINER_CPUS,
    CONTAINER_MEMORY,
    CONTAINER_DISK_SIZE,
    DNS_DOMAIN,
    KERNEL_BINARY_PATH,
    without_effect("kernel", "url", Kind::Text),
    without_effect("kernel", "digest", Kind::Text),
    without_effect("machine", "cpus", Kind::Count),
    without_effect("machine", "memory", ANY_SIZE),
    without_effect("machine", "homeMount", Kind::OneOf(&["ro", "rw", "none"])),
    without_effect("machine", "virtualization", Kind::Flag),
    without_effect("machine", "kernelPath", Kind::Path),
    NETWORK_SUBNET,
    NETWORK_SUBNET_V6,
    REGISTRY_DOMAIN,
    REGISTRY_HOSTS,
    VMINIT_IMAGE,
];

/// Tables of plugins: what is below `[plugin.<id>]` is theirs.
pub const PLUGIN_SECTION: &str = "plugin";

//! From the apiserver's words to vminitd's.

use std::fmt::Write;

use anyhow::{Context, Result, bail};
use bulkhead_guest_protocol::messages as guest;
use bulkhead_guest_protocol::stream::StreamSecret;
use bulkhead_runtime_control::{
    Backing, BuiltIn, CoveredPath, DnsSettings, Failure, FailureCode, MountSpecification, NetworkAttachment,
    ProcessSpecification, RuntimeSpecification,
};

use crate::machine;
use crate::text::sanitize;

const SEED_BYTES: usize = 32;
const MAC_ADDRESS_BYTES: usize = 6;

/// `layers` are the extents of the image disk, those of the emulators last.
pub(crate) fn start(
    specification: &RuntimeSpecification,
    mut layers: Vec<guest::LayerExtent>,
    host_sockets: Vec<guest::HostSocket>,
    stream_secret: &StreamSecret,
) -> Result<guest::Start> {
    let extents = layers.split_off(specification.layers.len());
    let emulators = specification.emulators.iter().zip(extents);
    Ok(guest::Start {
        root: Some(guest::RootFilesystem {
            image_device: "/dev/vda".to_owned(),
            layers,
            writable_device: "/dev/vdb".to_owned(),
            read_only: specification.read_only,
            emulators: emulators
                .map(|(emulator, extent)| guest::Emulator {
                    architecture: emulator.architecture.clone(),
                    extent: Some(extent),
                })
                .collect(),
        }),
        mounts: specification.mounts.iter().map(|one| mount(one, specification)).collect(),
        hostname: specification.hostname.clone(),
        interfaces: specification.networks.iter().map(interface).collect::<Result<_>>()?,
        files: generated_files(specification),
        masked_paths: specification.masked_paths.clone(),
        covered_paths: specification.covered_paths.iter().map(covered).collect(),
        readonly_paths: specification.readonly_paths.clone(),
        sysctls: specification.sysctls.clone().into_iter().collect(),
        limits: Some(guest::ResourceLimits {
            memory_bytes: specification.container_memory_bytes,
            pids: specification.container_pids,
            cpu_percent: specification.container_cpu_percent,
        }),
        process: Some(process(0, &specification.process)),
        random_seed: random_bytes::<SEED_BYTES>()?.into(),
        stream_secret: stream_secret.as_bytes().into(),
        shm_size_bytes: specification.shm_size_bytes,
        init: specification.init,
        privileged: specification.privileged,
        devices: specification.devices.clone(),
        host_sockets,
    })
}

/// A process; number 0 is the container's first.
pub(crate) fn process(number: u32, process: &ProcessSpecification) -> guest::Process {
    let bytes = |text: &String| text.clone().into_bytes();
    let (rows, columns) = process.terminal_size.unwrap_or((0, 0));
    guest::Process {
        number,
        arguments: process.arguments.iter().map(bytes).collect(),
        environment: process.environment.iter().map(bytes).collect(),
        working_directory: bytes(&process.working_directory),
        user: Some(guest::User {
            specification: process.user.clone(),
            supplementary_group_ids: process.supplementary_group_ids.clone(),
            supplementary_group_names: process.supplementary_group_names.clone(),
        }),
        terminal: process.terminal,
        rows: rows.into(),
        columns: columns.into(),
        stdin: process.stdin,
        capabilities: process.capabilities,
        rlimits: process
            .resource_limits
            .iter()
            .map(|limit| guest::ResourceLimit {
                resource: limit.resource,
                soft: limit.soft,
                hard: limit.hard,
            })
            .collect(),
        no_new_privileges: process.no_new_privileges,
        built_in: process.built_in.as_ref().map(built_in),
    }
}

fn built_in(work: &BuiltIn) -> guest::BuiltIn {
    use guest::built_in::Work;
    let bytes = |text: &String| text.clone().into_bytes();
    let work = match work {
        BuiltIn::PackTree { path, follow_link, name } => Work::PackTree(guest::PackTree {
            path: bytes(path),
            follow_link: *follow_link,
            name: bytes(name),
        }),
        BuiltIn::ExtractArchive { path, unpack, source_name, contents_only, keep_owner } => {
            Work::ExtractArchive(guest::ExtractArchive {
                path: bytes(path),
                unpack: *unpack,
                source_name: bytes(source_name),
                contents_only: *contents_only,
                keep_owner: *keep_owner,
            })
        }
        BuiltIn::Export => Work::Export(guest::Export {}),
        BuiltIn::ListChanges => Work::ListChanges(guest::ListChanges {}),
        BuiltIn::PackChanges { freeze } => Work::PackChanges(guest::PackChanges { freeze: *freeze }),
        BuiltIn::ListProcesses => Work::ListProcesses(guest::ListProcesses {}),
        BuiltIn::FillVolumes => Work::FillVolumes(guest::FillVolumes {}),
    };
    guest::BuiltIn { work: Some(work) }
}

/// A refusal of vminitd, its text made fit to be shown.
pub(crate) fn failure(failure: &guest::Failure) -> Failure {
    use guest::failure::Code;
    let code = match failure.code() {
        Code::ExecutableNotFound => FailureCode::ExecutableNotFound,
        Code::ExecutableNotRunnable => FailureCode::ExecutableNotRunnable,
        Code::DamagedFileSystem => FailureCode::DamagedFileSystem,
        Code::UserNotFound => FailureCode::UserNotFound,
        Code::InvalidArgument => FailureCode::InvalidArgument,
        Code::ProcessNotFound => FailureCode::ProcessNotFound,
        Code::Frozen => FailureCode::InvalidState,
        Code::Setup | Code::Unspecified => FailureCode::Setup,
    };
    Failure { code, message: sanitize(&failure.message) }
}

fn covered(covered: &CoveredPath) -> guest::CoveredPath {
    guest::CoveredPath { path: covered.path.clone(), is_directory: covered.is_directory }
}

fn mount(mount: &MountSpecification, specification: &RuntimeSpecification) -> guest::Mount {
    let (source, subpath) = match mount.backing {
        None => (mount.source.clone(), ""),
        Some(Backing::Volume(index)) => (machine::volume_device(index), ""),
        Some(Backing::Folder(index)) => {
            (machine::folder_tag(index), specification.folders.get(index).map_or("", machine::folder_subpath))
        }
    };
    guest::Mount {
        r#type: mount.kind.clone(),
        source,
        destination: mount.destination.clone(),
        options: mount.options.clone(),
        subpath: subpath.to_owned(),
        fill: mount.fill.is_some() && !mount.no_copy,
        tell_content: mount.fill.is_some() && matches!(mount.backing, Some(Backing::Volume(_))),
    }
}

fn interface(network: &NetworkAttachment) -> Result<guest::NetworkInterface> {
    Ok(guest::NetworkInterface {
        name: network.interface.clone(),
        mac_address: mac_address(&network.mac_address)?,
        addresses: network.addresses.clone(),
        ipv4_gateway: network.ipv4_gateway.clone().unwrap_or_default(),
        ipv6_gateway: network.ipv6_gateway.clone().unwrap_or_default(),
        mtu: network.mtu,
    })
}

fn mac_address(text: &str) -> Result<Vec<u8>> {
    let bytes: Option<Vec<u8>> = text.split(':').map(|part| u8::from_str_radix(part, 16).ok()).collect();
    match bytes {
        Some(bytes) if bytes.len() == MAC_ADDRESS_BYTES => Ok(bytes),
        _ => bail!("'{text}' is not a MAC address"),
    }
}

fn generated_files(specification: &RuntimeSpecification) -> Vec<guest::GeneratedFile> {
    let file = |path: &str, contents: String| guest::GeneratedFile {
        path: path.to_owned(),
        contents: contents.into_bytes(),
        mode: 0o644,
    };
    let mut files = vec![
        file("/etc/hosts", hosts(specification)),
        file("/etc/hostname", format!("{}\n", specification.hostname)),
    ];
    // Without settings the image's own file is left alone.
    files.extend(specification.dns.as_ref().map(|dns| file("/etc/resolv.conf", resolver_configuration(dns))));
    files
}

/// hosts(5), beginning as Docker's does.
fn hosts(specification: &RuntimeSpecification) -> String {
    let mut text = "127.0.0.1\tlocalhost\n\
                    ::1\tlocalhost ip6-localhost ip6-loopback\n\
                    fe00::\tip6-localnet\n\
                    ff00::\tip6-mcastprefix\n\
                    ff02::1\tip6-allnodes\n\
                    ff02::2\tip6-allrouters\n"
        .to_owned();
    let names = own_names(&specification.hostname);
    let own = specification
        .networks
        .iter()
        .flat_map(|network| &network.addresses)
        .map(|address| (address.split('/').next().unwrap_or_default(), names.as_str()));
    let extra = specification.extra_hosts.iter().map(|(address, names)| (address.as_str(), names.as_str()));
    for (address, names) in extra.chain(own) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{address}\t{names}");
    }
    text
}

/// A name with a domain is followed by the one without, as in Docker (moby, libnetwork, `updateHostsFile`).
fn own_names(hostname: &str) -> String {
    match hostname.split_once('.') {
        Some((short, _)) => format!("{hostname} {short}"),
        None => hostname.to_owned(),
    }
}

/// resolv.conf(5)
fn resolver_configuration(dns: &DnsSettings) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    for server in &dns.nameservers {
        let _ = writeln!(text, "nameserver {server}");
    }
    if let Some(domain) = &dns.domain {
        let _ = writeln!(text, "domain {domain}");
    }
    if !dns.search_domains.is_empty() {
        let _ = writeln!(text, "search {}", dns.search_domains.join(" "));
    }
    if !dns.options.is_empty() {
        let _ = writeln!(text, "options {}", dns.options.join(" "));
    }
    text
}

/// From the kernel's generator.
pub(crate) fn random_bytes<const LENGTH: usize>() -> Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .context("no random numbers")?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_addresses_have_six_bytes() {
        assert_eq!(mac_address("02:00:0a:ff:00:05").unwrap(), [2, 0, 10, 255, 0, 5]);
        assert!(mac_address("02:00:0a:ff:00").is_err());
        assert!(mac_address("02:00:0a:ff:00:100").is_err());
    }

    #[test]
    fn a_name_with_a_domain_is_also_known_without() {
        assert_eq!(own_names("my.host.example"), "my.host.example my");
        assert_eq!(own_names("web"), "web");
    }

    #[test]
    fn resolver_configuration_names_everything() {
        let dns = DnsSettings {
            nameservers: vec!["192.168.64.1".into()],
            domain: Some("test".into()),
            search_domains: vec!["a".into(), "b".into()],
            options: vec!["ndots:0".into()],
        };
        let expected = "nameserver 192.168.64.1\ndomain test\nsearch a b\noptions ndots:0\n";
        assert_eq!(resolver_configuration(&dns), expected);
    }
}

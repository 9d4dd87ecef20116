//! What the runtime helper is told.

use std::path::Path;

use bulkhead_api::container::{ContainerConfiguration, NetworkStatus};
use bulkhead_api::error::ApiError;
use bulkhead_image_store::ResolvedImage;
use bulkhead_network_control::Lease;
use bulkhead_runtime_control::{
    DnsSettings, Emulator, ImageLayer, LogLimits, NetworkAttachment, ProcessSpecification,
    RuntimeSpecification, VmmSpecification,
};

use super::mounts::Arranged;
use super::{capabilities, hosts, identifier, kernel_arguments, mounts, paths, resource_limits, sockets};
use crate::machine::Machines;
use crate::network::Interface;
use crate::service::Service;

/// Everything about one start beyond the configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start<'a> {
    pub(super) stdin: bool,
    pub(super) terminal_size: Option<(u16, u16)>,
    pub(super) ssh_agent_socket: Option<&'a str>,
    /// In place of that of this version.
    pub(super) initial_ramdisk: Option<&'a Path>,
    /// Of other architectures.
    pub(super) emulators: &'a [Emulator],
    /// What lets go of the terminal when it is typed there.
    pub(super) detach_keys: &'a [u8],
}

pub(super) fn build(
    service: &Service,
    configuration: &ContainerConfiguration,
    image: &ResolvedImage,
    interfaces: &[Interface],
    start: Start<'_>,
) -> Result<RuntimeSpecification, ApiError> {
    let directories = service.directories.container(&configuration.id);
    let resources = &configuration.resources;
    let volumes = service.volumes.mounted(&configuration.mounts);
    let Arranged { mounts, folders, sockets: mut host_sockets } =
        mounts::arrange(&service.directories, &configuration.mounts, &volumes)?;
    host_sockets.extend(sockets::agent(configuration, start.ssh_agent_socket));
    Ok(RuntimeSpecification {
        container_id: configuration.id.clone(),
        writable_disk: directories.writable_disk(),
        volumes: mounts::disks(service, &volumes),
        durable_directory: directories.durable,
        runtime_directory: directories.runtime,
        vmm: machine(service, configuration, start.initial_ramdisk),
        layers: image
            .layers
            .iter()
            .map(|layer| ImageLayer { path: layer.path.clone(), length_bytes: layer.length_bytes })
            .collect(),
        emulators: start.emulators.to_vec(),
        read_only: configuration.read_only,
        hostname: hostname(configuration).to_owned(),
        networks: attachments(interfaces),
        dns: dns(configuration, interfaces),
        extra_hosts: hosts::resolve(&configuration.extra_hosts, interfaces)?,
        mounts,
        folders,
        masked_paths: configuration.masked_paths.clone().unwrap_or_else(paths::default_masked),
        covered_paths: Vec::new(),
        readonly_paths: configuration.readonly_paths.clone().unwrap_or_else(paths::default_read_only),
        sysctls: configuration.sysctls.clone(),
        container_memory_bytes: resources.memory_in_bytes,
        container_cpu_percent: resources.cpu_limit_percent(),
        container_pids: configuration.pids_limit.unwrap_or(0),
        shm_size_bytes: configuration.shm_size.unwrap_or(0),
        init: configuration.use_init,
        privileged: configuration.privileged,
        devices: configuration.devices.iter().map(|device| device.path().to_owned()).collect(),
        published_sockets: sockets::publications(configuration),
        host_sockets,
        process: process(configuration, start)?,
        log_limits: {
            let bounds = configuration.log.bounds();
            LogLimits { maximum_file_bytes: bounds.file_bytes, maximum_files: bounds.files }
        },
        discard_disk: configuration.auto_remove && mounts::outlive_nothing(&configuration.mounts),
    })
}

fn machine(
    service: &Service,
    configuration: &ContainerConfiguration,
    initial_ramdisk: Option<&Path>,
) -> VmmSpecification {
    let machines = &service.machines;
    let resources = &configuration.resources;
    VmmSpecification {
        kind: machines.kind,
        kernel: configuration.kernel.as_ref().map_or_else(|| machines.kernel.clone(), Into::into),
        initial_ramdisk: initial_ramdisk.unwrap_or(&machines.initial_ramdisk).to_owned(),
        memory_bytes: Machines::memory_bytes(resources.memory_in_bytes),
        cpus: machines.cpus(resources.cpus.saturating_add(resources.cpu_overhead)),
        kernel_arguments: kernel_arguments::merge(&configuration.kernel_arguments),
    }
}

fn hostname(configuration: &ContainerConfiguration) -> &str {
    configuration.hostname.as_deref().unwrap_or_else(|| identifier::hostname(&configuration.id))
}

fn process(
    configuration: &ContainerConfiguration,
    start: Start<'_>,
) -> Result<ProcessSpecification, ApiError> {
    let process = &configuration.init_process;
    let mut arguments = Vec::with_capacity(1 + process.arguments.len());
    arguments.push(process.executable.clone());
    arguments.extend_from_slice(&process.arguments);
    Ok(ProcessSpecification {
        arguments,
        environment: process.environment.clone(),
        working_directory: process.working_directory.clone(),
        user: process.user.specification(),
        supplementary_group_ids: process.supplemental_groups.clone(),
        supplementary_group_names: process.supplemental_group_names.clone(),
        terminal: process.terminal,
        terminal_size: start.terminal_size,
        detach_keys: start.detach_keys.to_vec(),
        stdin: start.stdin,
        capabilities: capabilities::of_container(configuration)?,
        resource_limits: resource_limits::convert(&process.rlimits)?,
        built_in: None,
        no_new_privileges: configuration.no_new_privileges,
    })
}

/// The first interface of a network with a way outside leads there; a second default route would make
/// replies wander.
fn outward(interfaces: &[Interface]) -> Option<usize> {
    interfaces.iter().position(|interface| !interface.lease.internal)
}

fn attachments(interfaces: &[Interface]) -> Vec<NetworkAttachment> {
    let outward = outward(interfaces);
    let attachments = interfaces.iter().enumerate();
    attachments.map(|(index, one)| attachment(index, &one.lease, outward == Some(index))).collect()
}

fn attachment(index: usize, lease: &Lease, leads_outside: bool) -> NetworkAttachment {
    let ipv4_gateway = Some(lease.ipv4_gateway.to_string());
    let ipv6_gateway = lease.ipv6_gateway.map(|gateway| gateway.to_string());
    NetworkAttachment {
        interface: format!("eth{index}"),
        mac_address: lease.mac_address.clone(),
        addresses: std::iter::once(lease.ipv4_address.clone()).chain(lease.ipv6_address.clone()).collect(),
        ipv4_gateway: ipv4_gateway.filter(|_| leads_outside),
        ipv6_gateway: ipv6_gateway.filter(|_| leads_outside),
        mtu: lease.mtu,
    }
}

/// Without name servers of its own a container asks a gateway, which knows the names of all its
/// networks: the one that also knows those of the outside, if there is one.
fn dns(configuration: &ContainerConfiguration, interfaces: &[Interface]) -> Option<DnsSettings> {
    let wanted = configuration.dns.as_ref()?;
    let mut nameservers = wanted.nameservers.clone();
    if nameservers.is_empty() {
        let asked = interfaces.get(outward(interfaces).unwrap_or(0));
        nameservers.extend(asked.map(|interface| interface.lease.ipv4_gateway.to_string()));
    }
    if nameservers.is_empty() {
        return None;
    }
    Some(DnsSettings {
        nameservers,
        domain: wanted.domain.clone(),
        search_domains: wanted.search_domains.clone(),
        options: wanted.options.clone(),
    })
}

/// The interface as `inspect` shows it.
pub(super) fn network_status(hostname: &str, lease: &Lease) -> NetworkStatus {
    NetworkStatus {
        network: lease.network.clone(),
        hostname: hostname.to_owned(),
        ipv4_address: lease.ipv4_address.clone(),
        ipv4_gateway: lease.ipv4_gateway.to_string(),
        ipv6_address: lease.ipv6_address.clone(),
        mac_address: Some(lease.mac_address.clone()),
        mtu: Some(lease.mtu),
    }
}

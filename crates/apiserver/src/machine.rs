//! Which machine monitor runs containers on this host, and what could be better.

use std::path::PathBuf;

use bulkhead_api::error::ApiError;
use bulkhead_api::system::{Advice, MachineSupport};
use bulkhead_paths::Directories;
use bulkhead_runtime_control::VmmKind;
use bulkhead_vmm::map_count;
use bulkhead_vmm::probe::probe;

use crate::error::unsupported;
use crate::settings::Settings;

/// What the guest itself needs beside the container: kernel, vminitd, page tables.
const GUEST_OVERHEAD_BYTES: u64 = 128 << 20;

/// The backend in use.
#[derive(Clone, Debug)]
pub(crate) struct Machines {
    pub(crate) kind: VmmKind,
    pub(crate) kernel: PathBuf,
    /// The file that names the kernel in place of the installation's.
    kernel_origin: Option<String>,
    pub(crate) initial_ramdisk: PathBuf,
    pub(crate) support: MachineSupport,
    /// Why no machine can run here.
    obstacle: Option<Advice>,
}

impl Machines {
    pub(crate) fn detect(directories: &Directories, settings: &Settings) -> Self {
        let kernel = settings.kernel.clone().unwrap_or_else(|| directories.uml_kernel());
        let probe = probe(&kernel);
        let advice: Vec<Advice> = probe
            .advice
            .into_iter()
            .map(|advice| Advice { problem: advice.problem, remedy: advice.remedy })
            .collect();
        for one in &advice {
            tracing::warn!(remedy = one.remedy, "{}", one.problem);
        }
        let obstacle = if probe.backend.is_none() { advice.first().cloned() } else { None };
        Self {
            kind: VmmKind::Uml,
            kernel,
            kernel_origin: settings.kernel_origin(),
            initial_ramdisk: directories.initial_ramdisk(),
            obstacle,
            support: MachineSupport {
                vmm: "uml".to_owned(),
                barrier:
                    "Each container has a Linux kernel of its own, which runs as an unprivileged, jailed \
                          process of this host; the processor's virtualization is not used."
                        .to_owned(),
                reason: probe.no_kvm_reason,
                maximum_cpus: Some(1),
                advice,
            },
        }
    }

    /// What to do when a machine did not start for this reason, if that is the kernel of a file of settings.
    pub(crate) fn hint(&self, reason: &str) -> Option<String> {
        let origin = self.kernel_origin.as_ref()?;
        let is_meant = reason.contains(&format!("'{}'", self.kernel.display()));
        is_meant.then(|| format!(
            "kernel.binaryPath in '{origin}' names it: correct that, then stop the services, which start anew by \
             themselves: container system stop"
        ))
    }

    /// Refuses where no machine can run.
    pub(crate) fn check(&self) -> Result<(), ApiError> {
        match &self.obstacle {
            None => Ok(()),
            Some(obstacle) => Err(unsupported(format!("containers cannot run here: {}", obstacle.problem))
                .with_hint(obstacle.remedy.clone())),
        }
    }

    /// What a user should know before a container with so much memory starts.
    pub(crate) fn warning(container_bytes: u64) -> Option<String> {
        let safe_bytes = map_count::scattered_memory_bytes().filter(|safe| *safe < container_bytes)?;
        Some(format!(
            "vm.max_map_count is low: a process of the container that touches more than {} MiB of memory may \
             be killed; sysctl -w vm.max_map_count={}",
            safe_bytes >> 20,
            map_count::wanted()
        ))
    }

    /// As status and tables show the backend.
    pub(crate) fn name(&self) -> &'static str {
        match self.kind {
            VmmKind::Uml => "uml",
            VmmKind::Qemu => "qemu",
        }
    }

    /// Virtual CPUs that a machine asked to have `cpus` really gets.
    pub(crate) fn cpus(&self, cpus: u32) -> u32 {
        self.support.maximum_cpus.map_or(cpus, |maximum| cpus.min(maximum))
    }

    /// Memory of the machine of a container with `container_bytes`.
    pub(crate) fn memory_bytes(container_bytes: u64) -> u64 {
        container_bytes.saturating_add(GUEST_OVERHEAD_BYTES)
    }
}

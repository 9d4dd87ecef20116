//! Which backend this host can use, and what is in the way of a better one.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::{SecureComputingMode, UnshareFlags, secure_computing_mode, unshare_unsafe};

use crate::map_count;

/// A backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// User-Mode Linux.
    Uml,
}

/// Something to improve about the host, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// What is wrong and what it leads to.
    pub problem: String,
    /// What to do; a command where there is one.
    pub remedy: String,
}

/// What the probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The backend to use; `None` when no machine can run here.
    pub backend: Option<Backend>,
    /// Why not the hardware's virtualization; one sentence.
    pub no_kvm_reason: String,
    /// What to improve. Without a backend the first entry says why.
    pub advice: Vec<Advice>,
}

/// Looks at the host. Takes about a millisecond and leaves nothing.
#[must_use]
pub fn probe(uml_kernel: &Path) -> Probe {
    let mut blockers = Vec::new();
    let mut advice = Vec::new();
    if !cfg!(target_arch = "x86_64") {
        blockers.push(Advice {
            problem: "User-Mode Linux exists for x86-64 only".to_owned(),
            remedy: "use a host with an x86-64 processor".to_owned(),
        });
    }
    blockers.extend(check_kernel(uml_kernel));
    blockers.extend(check_tracing());
    blockers.extend(check_memory_descriptors());
    blockers.extend(check_user_namespaces());
    advice.extend(check_map_count());
    advice.extend(check_filter());
    let backend = blockers.is_empty().then_some(Backend::Uml);
    blockers.extend(advice);
    Probe { backend, no_kvm_reason: no_kvm_reason(), advice: blockers }
}

/// A filter around the guest's kernel would decide about the system calls of its programs before the kernel hears of
/// them, so they are all traced then: kernel/README.md, "System calls".
fn check_filter() -> Option<Advice> {
    let is_filtered = secure_computing_mode().is_ok_and(|mode| mode != SecureComputingMode::Disabled);
    is_filtered.then(|| Advice {
        problem: "container services run under a seccomp filter; system calls in containers take half as long again"
            .to_owned(),
        remedy: "start them outside of it (`--security-opt seccomp=unconfined` of a container, no SystemCallFilter= \
                 of a unit)"
            .to_owned(),
    })
}

fn no_kvm_reason() -> String {
    match File::options().read(true).write(true).open("/dev/kvm") {
        Ok(_) => "This version has no backend for KVM yet.".to_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            "This host offers no hardware virtualization: /dev/kvm does not exist.".to_owned()
        }
        Err(error) => format!("/dev/kvm cannot be used: {error}."),
    }
}

fn check_kernel(path: &Path) -> Option<Advice> {
    let problem = match fs::metadata(path) {
        Ok(metadata) if metadata.mode() & 0o111 != 0 => return None,
        Ok(_) => format!("the kernel '{}' is not executable", path.display()),
        Err(error) => format!("the kernel '{}' cannot be used: {error}", path.display()),
    };
    Some(Advice { problem, remedy: "reinstall, or build it with `make`".to_owned() })
}

fn read_number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Linux, Documentation/admin-guide/LSM/Yama.rst: from 2 on a process cannot trace its children.
fn check_tracing() -> Option<Advice> {
    let scope = read_number("/proc/sys/kernel/yama/ptrace_scope").filter(|scope| *scope >= 2)?;
    Some(Advice {
        problem: format!("kernel.yama.ptrace_scope is {scope}: User-Mode Linux cannot run its processes"),
        remedy: "sysctl -w kernel.yama.ptrace_scope=1".to_owned(),
    })
}

/// Linux, Documentation/userspace-api/mfd_noexec.rst.
fn check_memory_descriptors() -> Option<Advice> {
    read_number("/proc/sys/vm/memfd_noexec").filter(|mode| *mode >= 2)?;
    Some(Advice {
        problem: "vm.memfd_noexec is 2: User-Mode Linux cannot execute its process stub".to_owned(),
        remedy: "sysctl -w vm.memfd_noexec=1".to_owned(),
    })
}

/// Only users other than root need them. Whether they may is tried: what forbids it are switches of several
/// kinds, profiles of AppArmor that allow it again, and system call filters.
fn check_user_namespaces() -> Option<Advice> {
    if rustix::process::geteuid().is_root() {
        return None;
    }
    let error = make_user_namespace().err()?;
    let off = |path: &str, value: u64| read_number(path) == Some(value);
    let (problem, remedy) = if off("/proc/sys/user/max_user_namespaces", 0) {
        ("user.max_user_namespaces is 0", "sysctl -w user.max_user_namespaces=15000")
    } else if off("/proc/sys/kernel/unprivileged_userns_clone", 0) {
        ("kernel.unprivileged_userns_clone is 0", "sysctl -w kernel.unprivileged_userns_clone=1")
    } else if off("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", 1) {
        (
            "kernel.apparmor_restrict_unprivileged_userns is 1",
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or install an AppArmor profile",
        )
    } else {
        (
            &*format!("user namespaces cannot be made ({error})"),
            "let this user make them; a container that this runs in must allow unshare(2)",
        )
    };
    Some(Advice {
        problem: format!("{problem}: the machine monitor cannot be jailed without root"),
        remedy: remedy.to_owned(),
    })
}

/// In a process of its own, which ends at once.
fn make_user_namespace() -> io::Result<()> {
    let map = format!("0 {} 1\n", rustix::process::geteuid().as_raw());
    let mut command = Command::new("/");
    // SAFETY: between fork and the end this makes system calls only.
    unsafe {
        command.pre_exec(move || {
            unshare_unsafe(UnshareFlags::NEWUSER)?;
            let file = rustix::fs::open(c"/proc/self/uid_map", OFlags::WRONLY, Mode::empty())?;
            rustix::io::write(&file, map.as_bytes())?;
            // Nothing is to be executed.
            Err(Errno::CANCELED.into())
        });
    }
    match command.spawn() {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::CANCELED) => Ok(()),
        Err(error) => Err(error),
        // Not with that program.
        Ok(mut child) => child.wait().map(drop),
    }
}

fn check_map_count() -> Option<Advice> {
    let memory_bytes = map_count::scattered_memory_bytes()?;
    let wanted = map_count::wanted();
    Some(Advice {
        problem: format!(
            "vm.max_map_count is {}: a process in a container that touches more than {} MiB of memory in no \
             order may be killed.",
            map_count::current().unwrap_or_default(),
            memory_bytes >> 20
        ),
        remedy: format!("sysctl -w vm.max_map_count={wanted}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_kernel_is_named() {
        let probe = probe(Path::new("/nonexistent/kernel"));
        assert_eq!(probe.backend, None);
        assert!(probe.advice.iter().any(|advice| advice.problem.contains("/nonexistent/kernel")));
    }
}

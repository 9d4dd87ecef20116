//! Capability sets of a process.

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, remove_capability_from_bounding_set, set_capabilities,
    set_keep_capabilities,
};

/// CAP_LAST_CAP of Linux 7; higher bits of a mask mean nothing.
const COUNT: u32 = 41;
/// Every capability.
pub(crate) const ALL: u64 = (1 << COUNT) - 1;

/// Takes from the bounding set of the caller, and so of all its future children, what `mask` lacks
/// of the `present`.
///
/// There is one call per capability. PID 1 makes them once instead of every child again: it executes
/// nothing itself, and the bounding set counts only there.
pub(crate) fn limit_bounding_set(present: u64, mask: u64) -> Result<(), Errno> {
    let excess = present & !mask;
    for number in (0..COUNT).filter(|number| excess & (1 << number) != 0) {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)) {
            // Of a kernel newer than the guest's own list.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Keeps the permitted set over the change of the user id that follows.
pub(crate) fn keep() -> Result<(), Errno> {
    set_keep_capabilities(true)
}

/// Makes every capability inheritable. PID 1 does it before it limits its bounding set: what the
/// bounding set lacks can no longer be made inheritable (capset(2)), and [`set`] may be asked for it.
pub(crate) fn keep_inheritable() -> Result<(), Errno> {
    let all = CapabilitySet::from_bits_retain(ALL);
    set_capabilities(None, CapabilitySets { effective: all, permitted: all, inheritable: all })
}

/// Sets effective and permitted; inheritable stays empty (CVE-2022-24769), and with it ambient.
///
/// A mask beyond the bounding set is that of a privileged process in a container without such rights.
/// It gets it as inheritable too, by which root's programs come to it past the bounding set
/// (capabilities(7), "Transformation of capabilities during execve").
pub(crate) fn set(mask: u64, bounding_set: u64) -> Result<(), Errno> {
    let set = CapabilitySet::from_bits_retain(mask & ALL);
    let beyond = mask & ALL & !bounding_set != 0;
    let inheritable = if beyond { set } else { CapabilitySet::empty() };
    set_capabilities(None, CapabilitySets { effective: set, permitted: set, inheritable })
}

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

/// Sets effective and permitted; inheritable stays empty (CVE-2022-24769), and with it ambient.
pub(crate) fn set(mask: u64) -> Result<(), Errno> {
    let set = CapabilitySet::from_bits_retain(mask & ALL);
    let sets = CapabilitySets { effective: set, permitted: set, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets)
}

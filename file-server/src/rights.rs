//! What a server keeps of root's rights: files are to belong to whom the guest says, as with any
//! container that root runs. No devices can be made, and no program be given capabilities.

use std::io;

use rustix::thread::{
    CapabilitySet, CapabilitySets, remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

use crate::calls;

const WRITER: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::LEASE)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID);
/// Without the rest nothing can be changed; the users of requests are still to be become, and a lease says
/// whether somebody writes a file ([`crate::content`]).
const READER: CapabilitySet = CapabilitySet::DAC_OVERRIDE
    .union(CapabilitySet::LEASE)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID);

/// Gives up all but what serving needs. Last, but before there is a second thread.
pub(crate) fn restrict(read_only: bool) -> io::Result<()> {
    let kept = if read_only { READER } else { WRITER };
    for capability in CapabilitySet::all().difference(kept).iter() {
        match remove_capability_from_bounding_set(capability) {
            // Newer than the kernel.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    set_capabilities(
        None,
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() },
    )?;
    set_no_new_privs(true)?;
    calls::restrict()
}

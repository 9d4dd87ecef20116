//! The guest's date follows the host's.
//!
//! A guest takes the date once, when it boots. A host that sleeps, or whose date is mended, leaves it
//! behind; then certificates are not valid yet and builds find files of the future.

use bulkhead_guest_protocol::messages::{Ping, Pong};

const NANOSECONDS: i64 = 1_000_000_000;

/// Corrects the date by what the host asks for, and tells it.
pub(crate) fn answer(ping: Ping) -> Pong {
    if ping.clock_correction_ns != 0 {
        let corrected = unix_time_ns().saturating_add(ping.clock_correction_ns);
        let time = libc::timespec {
            tv_sec: corrected.div_euclid(NANOSECONDS),
            tv_nsec: corrected.rem_euclid(NANOSECONDS),
        };
        // A date that the kernel refuses stays wrong; the host sees it in the answer.
        // SAFETY: the structure is valid for the read.
        let _ = unsafe { libc::clock_settime(libc::CLOCK_REALTIME, &raw const time) };
    }
    Pong { unix_time_ns: unix_time_ns() }
}

fn unix_time_ns() -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // Not by rustix, which insists on a vDSO; UML has none.
    // SAFETY: the structure is valid for the write.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut now) };
    now.tv_sec.saturating_mul(NANOSECONDS).saturating_add(now.tv_nsec)
}

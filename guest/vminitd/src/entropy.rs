//! The host's random seed.

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::ioctl::{Setter, ioctl, opcode};

/// The protocol asks for 32 bytes; more is cut off.
const SEED_BYTES: usize = 32;

/// `struct rand_pool_info` of linux/random.h with room for the seed.
#[repr(C)]
struct PoolInput {
    entropy_bits: i32,
    size_bytes: i32,
    bytes: [u8; SEED_BYTES],
}

// The kernel encodes the type as `int[2]`.
const RNDADDENTROPY: rustix::ioctl::Opcode = opcode::write::<[i32; 2]>(b'R', 0x03);

/// Mixes the seed into the pool and credits it, so that getrandom(2) never blocks in a guest
/// without a hardware generator.
pub(crate) fn add(seed: &[u8]) -> Result<(), Errno> {
    let length = seed.len().min(SEED_BYTES);
    if length == 0 {
        return Ok(());
    }
    let length_i32 = i32::try_from(length).map_err(|_| Errno::INVAL)?;
    let mut input =
        PoolInput { entropy_bits: length_i32 * 8, size_bytes: length_i32, bytes: [0; SEED_BYTES] };
    input.bytes[..length].copy_from_slice(&seed[..length]);
    let random = openat(CWD, c"/dev/random", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    // SAFETY: RNDADDENTROPY reads a rand_pool_info of the size that `size_bytes` says.
    unsafe { ioctl(random, Setter::<RNDADDENTROPY, PoolInput>::new(input)) }
}

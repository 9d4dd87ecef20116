//! What can be a guest's /init: there is no loader and no library in an initramfs.

use thiserror::Error;

/// elf(5), `Elf64_Ehdr` and `Elf64_Phdr`.
const MAGIC: &[u8] = b"\x7fELF\x02\x01";
const HEADER_BYTES: usize = 64;
const PROGRAM_HEADER_BYTES: usize = 56;
const PT_INTERP: u32 = 3;
#[cfg(target_arch = "x86_64")]
const MACHINE: u16 = 62;
#[cfg(target_arch = "aarch64")]
const MACHINE: u16 = 183;

/// Why a file cannot be the /init of a guest.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProgramError {
    /// No 64-bit ELF file, or a truncated one.
    #[error("it is not an executable program")]
    NotExecutable,
    /// Made for another processor.
    #[error("it is a program for another architecture")]
    Architecture,
    /// Asks for a dynamic loader.
    #[error("it is not linked statically")]
    Dynamic,
}

/// Checks that a guest's kernel could execute the program.
///
/// # Errors
/// See [`ProgramError`].
pub fn check_program(program: &[u8]) -> Result<(), ProgramError> {
    let header = program.get(..HEADER_BYTES).filter(|header| header.starts_with(MAGIC));
    let header = header.ok_or(ProgramError::NotExecutable)?;
    if u16_at(header, 18) != MACHINE {
        return Err(ProgramError::Architecture);
    }
    let table = u64::from_le_bytes(header[32..40].try_into().map_err(|_| ProgramError::NotExecutable)?);
    let start = usize::try_from(table).map_err(|_| ProgramError::NotExecutable)?;
    let count = usize::from(u16_at(header, 56));
    let end = start.checked_add(count * PROGRAM_HEADER_BYTES).ok_or(ProgramError::NotExecutable)?;
    let entries = program.get(start..end).ok_or(ProgramError::NotExecutable)?;
    let is_dynamic = entries
        .chunks_exact(PROGRAM_HEADER_BYTES)
        .any(|entry| u32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]]) == PT_INTERP);
    if is_dynamic { Err(ProgramError::Dynamic) } else { Ok(()) }
}

fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes([bytes[offset], bytes[offset + 1]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(machine: u16, kind: u32) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES + PROGRAM_HEADER_BYTES];
        bytes[..MAGIC.len()].copy_from_slice(MAGIC);
        bytes[18..20].copy_from_slice(&machine.to_le_bytes());
        bytes[32] = 64;
        bytes[56] = 1;
        bytes[HEADER_BYTES..HEADER_BYTES + 4].copy_from_slice(&kind.to_le_bytes());
        bytes
    }

    #[test]
    fn only_static_programs_of_this_architecture_pass() {
        assert_eq!(check_program(&program(MACHINE, 1)), Ok(()));
        assert_eq!(check_program(&program(MACHINE, PT_INTERP)), Err(ProgramError::Dynamic));
        assert_eq!(check_program(&program(3, 1)), Err(ProgramError::Architecture));
        assert_eq!(check_program(b"#!/bin/sh\n"), Err(ProgramError::NotExecutable));
        assert_eq!(check_program(&program(MACHINE, 1)[..HEADER_BYTES]), Err(ProgramError::NotExecutable));
        let mut absurd = program(MACHINE, 1);
        absurd[32..40].fill(0xff);
        assert_eq!(check_program(&absurd), Err(ProgramError::NotExecutable));
    }
}

//! A User-Mode Linux kernel keeps code of its own, with system calls, in the uppermost pages of each process.

use std::arch::asm;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use crate::{_exit, ended, fork, row};

const SIGSEGV: i32 = 11;

/// Whoever makes these is ended. Prints how many there are.
pub(crate) fn try_calls() {
    const END: usize = 0x7fff_ffff_f000;
    let mut places = 0;
    for page in (1..=64).map(|number| END - number * 4096) {
        for offset in calls_in(page) {
            // SAFETY: the child does nothing after it.
            let child = unsafe { fork() };
            if child == 0 {
                row();
                // SAFETY: what the call would do is to map a page that may be written and executed.
                unsafe {
                    asm!("jmp {address}", address = in(reg) page + usize::from(offset), in("rax") 9,
                        in("rdi") 0x1000_0000, in("rsi") 4096, in("rdx") 7, in("r10") 0x22, in("r8") -1i64, in("r9") 0,
                        options(noreturn));
                }
            }
            let status = ended(child);
            assert_eq!(status & 0x7f, SIGSEGV, "at {page:#x} + {offset:#x}: {status:#x}");
            places += 1;
        }
    }
    println!("{places}");
}

/// Where instructions of system calls are in a page, which may not be there.
fn calls_in(page: usize) -> Vec<u16> {
    let (mut here, mut there) = UnixStream::pair().expect("a pair");
    // SAFETY: the child reads the page, which ends it if there is none.
    let child = unsafe { fork() };
    if child == 0 {
        for offset in 0..4095u16 {
            // SAFETY: see above.
            if unsafe { (page as *const u8).add(offset.into()).cast::<[u8; 2]>().read_volatile() }
                == [0x0f, 0x05]
            {
                there.write_all(&offset.to_ne_bytes()).expect("to write");
            }
        }
        // SAFETY: nothing is left to be done.
        unsafe { _exit(0) }
    }
    drop(there);
    ended(child);
    let mut offsets = Vec::new();
    here.read_to_end(&mut offsets).expect("offsets");
    offsets.chunks_exact(2).map(|bytes| u16::from_ne_bytes([bytes[0], bytes[1]])).collect()
}

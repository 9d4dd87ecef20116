//! Goes through fresh memory page by page and prints how many pages are there, whenever there are more.

use std::ffi::{c_int, c_void};

unsafe extern "C" {
    fn mmap(at: *mut c_void, bytes: usize, rights: c_int, flags: c_int, file: c_int, offset: i64) -> *mut u8;
    fn mincore(at: *mut u8, bytes: usize, pages: *mut u8) -> c_int;
}

const PAGE: usize = 4096;
const BYTES: usize = 4 << 20;
const READ_AND_WRITE: c_int = 3;
const PRIVATE_ANONYMOUS: c_int = 0x22;
const PASSED: usize = 256;
/// Of what is populated at once.
const ALIGNMENT: usize = 256 << 10;

fn main() {
    // SAFETY: a new mapping.
    let memory = unsafe { mmap(std::ptr::null_mut(), BYTES, READ_AND_WRITE, PRIVATE_ANONYMOUS, -1, 0) };
    assert_ne!(memory.addr(), usize::MAX, "mmap");
    let first = memory.align_offset(ALIGNMENT) + ALIGNMENT;
    let mut steps = Vec::new();
    for page in 0..PASSED {
        // SAFETY: within the mapping.
        unsafe { memory.add(first + page * PAGE).write_volatile(1) };
        let pages = pages(memory);
        if steps.last() != Some(&pages) {
            steps.push(pages);
        }
    }
    println!("{steps:?}");
}

fn pages(memory: *mut u8) -> usize {
    let mut pages = [0; BYTES / PAGE];
    // SAFETY: one byte for each page of the mapping.
    assert_eq!(unsafe { mincore(memory, BYTES, pages.as_mut_ptr()) }, 0, "mincore");
    pages.iter().filter(|page| **page & 1 == 1).count()
}

//! CPU affinity of the calling thread: `sched_getaffinity(2)`, `sched_setaffinity(2)`.
//!
//! The kernel's masks are arrays of words, of which bit i of word w stands for CPU 64 w + i. How many words it
//! insists on depends on the CPUs that the machine may have, not on those that it has: for reading, a mask that is too
//! short is refused with `EINVAL`; for writing, the words that are not given count as zero.

#![expect(unsafe_code, reason = "system calls that libc offers no safe wrapper for")]

use std::io;

/// CPUs that one word of a mask stands for.
const WORD_CPUS: u32 = u64::BITS;
/// The mask that reading begins with: 1,024 CPUs, as many as a `cpu_set_t` holds.
const WORDS_FIRST: usize = 16;
/// The longest mask that is tried: a million CPUs.
const WORDS_MAX: usize = 1 << 14;

// A mask is handed over as a `cpu_set_t`, which is made of such words.
const _: () = assert!(align_of::<u64>() >= align_of::<libc::cpu_set_t>());

/// The CPUs that the calling thread may run on, ascending.
pub(crate) fn usable_cpus() -> io::Result<Vec<u32>> {
    Ok(cpus_of(&read_mask(WORDS_FIRST, get)?))
}

/// Binds the calling thread to `cpu`, which is one that it may run on.
pub(crate) fn pin_this_thread(cpu: u32) -> io::Result<()> {
    set(&mask_of(cpu))
}

/// Calls `get` with longer and longer masks, from `words` words on, until it is long enough.
fn read_mask(words: usize, mut get: impl FnMut(&mut [u64]) -> io::Result<()>) -> io::Result<Vec<u64>> {
    let mut mask = vec![0; words];
    loop {
        match get(&mut mask) {
            Ok(()) => return Ok(mask),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) && mask.len() < WORDS_MAX => {
                mask = vec![0; (mask.len() * 2).max(1)];
            }
            Err(error) => return Err(error),
        }
    }
}

fn cpus_of(mask: &[u64]) -> Vec<u32> {
    let bits = (0_u32..).zip(mask).flat_map(|(index, word)| {
        (0..WORD_CPUS).filter(move |bit| word >> bit & 1 == 1).map(move |bit| index * WORD_CPUS + bit)
    });
    bits.collect()
}

fn mask_of(cpu: u32) -> Vec<u64> {
    let word = (cpu / WORD_CPUS) as usize;
    let mut mask = vec![0; word + 1];
    mask[word] = 1 << (cpu % WORD_CPUS);
    mask
}

fn get(mask: &mut [u64]) -> io::Result<()> {
    // SAFETY: the call writes within the `size_of_val(mask)` bytes from its start, which are borrowed mutably, and 0
    // is the calling thread.
    let result = unsafe { libc::sched_getaffinity(0, size_of_val(mask), mask.as_mut_ptr().cast()) };
    checked(result)
}

fn set(mask: &[u64]) -> io::Result<()> {
    // SAFETY: the call reads the `size_of_val(mask)` bytes from its start, and 0 is the calling thread.
    let result = unsafe { libc::sched_setaffinity(0, size_of_val(mask), mask.as_ptr().cast()) };
    checked(result)
}

fn checked(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests;

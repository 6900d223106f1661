//! Guard regions, and giving memory back, many ranges in one call (`process_madvise(2)` on the process itself).
//!
//! Kernels before 6.15 have no name for 'the process itself', and before 6.13 they allow less; a call for each range
//! then does the same.

#![expect(unsafe_code, reason = "system calls that libc offers no safe wrapper for")]

use crate::sys::unix::page_bytes;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// `MADV_GUARD_INSTALL`, Linux 6.13.
const GUARD_INSTALL: libc::c_int = 102;
/// `PIDFD_SELF`, Linux 6.15: the calling process, without a descriptor that a child would inherit.
const PIDFD_SELF: libc::c_int = -10_001;
/// Ranges of one call; their descriptions lie on the caller's stack, which may be a small one.
const RANGES_PER_CALL: usize = 64;

/// Whether `process_madvise` was refused.
static BATCHES_REFUSED: AtomicBool = AtomicBool::new(false);

/// See [`guard`](crate::sys::unix::guard).
///
/// # Safety
///
/// As there.
pub(crate) unsafe fn install(pages: &[usize]) -> (usize, io::Result<()>) {
    let bytes = page_bytes();
    // SAFETY: promised by the caller.
    unsafe { advise(pages.iter().map(|&page| (page, bytes)), GUARD_INSTALL) }
}

/// Whether the first of these guards, which the kernel says are there, keeps anybody from reading it.
pub(crate) fn is_real(pages: &[usize]) -> bool {
    let Some(&page) = pages.first() else { return false };
    let mut pipe = [-1; 2];
    // SAFETY: there is room for two descriptors.
    if unsafe { libc::pipe2(pipe.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) } != 0 {
        return false;
    }
    // SAFETY: the kernel reads the byte, or says that it cannot; both descriptors are this function's.
    unsafe {
        let written = libc::write(pipe[1], std::ptr::with_exposed_provenance(page), 1);
        let refused = written == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT);
        libc::close(pipe[0]);
        libc::close(pipe[1]);
        refused
    }
}

/// See [`discard`](crate::sys::unix::discard); says how many ranges it has dealt with.
///
/// # Safety
///
/// As there.
pub(crate) unsafe fn discard(ranges: &[(usize, usize)]) -> usize {
    // SAFETY: promised by the caller.
    unsafe { advise(ranges.iter().copied(), libc::MADV_DONTNEED) }.0
}

/// Gives the same advice for all ranges, in order; how many were done, and the error of the next.
///
/// # Safety
///
/// The advice does no harm to anybody who uses the ranges.
unsafe fn advise(
    mut ranges: impl ExactSizeIterator<Item = (usize, usize)> + Clone,
    advice: libc::c_int,
) -> (usize, io::Result<()>) {
    let mut done = 0;
    while ranges.len() > 0 {
        if !BATCHES_REFUSED.load(Ordering::Relaxed) {
            // SAFETY: promised by the caller.
            let count = unsafe { advise_batch(ranges.clone().take(RANGES_PER_CALL), advice) };
            done += count;
            ranges.by_ref().take(count).for_each(drop);
            if count > 0 {
                continue;
            }
        }
        // One by one: it says why.
        let Some((base, bytes)) = ranges.next() else { break };
        // SAFETY: promised by the caller.
        if unsafe { libc::madvise(std::ptr::without_provenance_mut(base), bytes, advice) } != 0 {
            return (done, Err(io::Error::last_os_error()));
        }
        done += 1;
    }
    (done, Ok(()))
}

/// One call for up to [`RANGES_PER_CALL`] ranges of equal size; how many of them were done.
///
/// # Safety
///
/// As for [`advise`].
unsafe fn advise_batch(ranges: impl Iterator<Item = (usize, usize)>, advice: libc::c_int) -> usize {
    let mut vectors = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; RANGES_PER_CALL];
    let mut count = 0;
    for (vector, (base, bytes)) in vectors.iter_mut().zip(ranges) {
        *vector = libc::iovec { iov_base: std::ptr::without_provenance_mut(base), iov_len: bytes };
        count += 1;
    }
    if count < 2 {
        return 0;
    }
    // SAFETY: the vectors are valid for the call; the rest is promised by the caller.
    let advised_bytes =
        unsafe { libc::syscall(libc::SYS_process_madvise, PIDFD_SELF, vectors.as_ptr(), count, advice, 0) };
    match usize::try_from(advised_bytes) {
        // Whole ranges only: one that was cut short is done again.
        Ok(advised_bytes) => {
            let mut left = advised_bytes;
            let whole = vectors[..count].iter().take_while(|vector| {
                let fits = vector.iov_len <= left;
                left = left.saturating_sub(vector.iov_len);
                fits
            });
            whole.count()
        }
        Err(_) => {
            let refused = [libc::ENOSYS, libc::EPERM, libc::EBADF, libc::EINVAL];
            if io::Error::last_os_error().raw_os_error().is_some_and(|error| refused.contains(&error)) {
                BATCHES_REFUSED.store(true, Ordering::Relaxed);
            }
            0
        }
    }
}

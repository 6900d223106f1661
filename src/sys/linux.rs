//! Linux: `membarrier(2)`, `futex(2)` and, in a file of its own, CPU affinity.

#![expect(unsafe_code, reason = "system calls that libc offers no safe wrapper for")]

use std::sync::OnceLock;

#[cfg(not(any(loom, shuttle)))]
pub(crate) mod affinity;
#[cfg(not(loom))]
pub(crate) mod guards;
#[cfg(not(any(loom, shuttle)))]
pub(crate) mod idle;
#[cfg(not(any(loom, shuttle)))]
pub(crate) mod thread_clock;

/// `MEMBARRIER_CMD_PRIVATE_EXPEDITED`: a full barrier on every running thread of this process.
const PRIVATE_EXPEDITED: libc::c_int = 1 << 3;
/// `MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED`: must precede the first use.
const REGISTER_PRIVATE_EXPEDITED: libc::c_int = 1 << 4;

fn membarrier(command: libc::c_int) -> bool {
    // SAFETY: the call takes three integers and touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}

/// Registers the process for [`process_wide_barrier`] once; says whether the kernel has it
/// (containers may filter it out).
pub(crate) fn register_process_wide_barrier() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| membarrier(REGISTER_PRIVATE_EXPEDITED) && membarrier(PRIVATE_EXPEDITED))
}

/// Makes every running thread of this process execute a full barrier before it returns.
///
/// Must follow a successful [`register_process_wide_barrier`].
pub(crate) fn process_wide_barrier() {
    let done = membarrier(PRIVATE_EXPEDITED);
    assert!(done, "membarrier failed after it had been registered");
}

#[cfg(not(any(loom, shuttle)))]
pub(crate) mod futex {
    use std::sync::atomic::AtomicU32;
    use std::time::Duration;

    /// Sleeps while `*word == expected`, for at most `timeout`; may return early for no reason.
    pub(crate) fn wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) {
        let timespec = timeout.map(|limit| libc::timespec {
            tv_sec: libc::time_t::try_from(limit.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::from(limit.subsec_nanos() as i32),
        });
        let limit = timespec.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: `word` is a live, aligned 32-bit word and `limit` is null or points to a timespec
        // that lives until after the call.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                word.as_ptr(),
                libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
                expected,
                limit,
            );
        }
    }

    /// Wakes one thread that sleeps on `word`.
    pub(crate) fn wake_one(word: &AtomicU32) {
        wake_one_at(word);
    }

    /// Wakes one thread that sleeps on a word at this address, if there is any.
    pub(crate) fn wake_one_at(word: *const AtomicU32) {
        // SAFETY: the kernel uses only the word's address.
        unsafe {
            libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1);
        }
    }
}

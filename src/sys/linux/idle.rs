//! Threads that run only while their CPU would be idle: `SCHED_IDLE` of `sched(7)`.

#![expect(unsafe_code, reason = "a system call that libc offers no safe wrapper for")]

use std::io;

/// Makes the calling thread one that the kernel runs only while its CPU has nothing else to do, but for a small share. For good: a thread
/// without privileges cannot leave this.
pub(crate) fn become_idle_thread() -> io::Result<()> {
    // All that this policy has no use for is zero.
    let parameter = libc::c_int::default();
    // The system call itself: not every C library passes it on.
    // SAFETY: a `sched_param` is one integer for the kernel, which lives until after the call; 0 is the calling thread.
    let result =
        unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, libc::SCHED_IDLE, &raw const parameter) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

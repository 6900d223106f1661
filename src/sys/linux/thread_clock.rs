//! How much time of processors a thread has used, asked by another one.

#![expect(unsafe_code, reason = "system calls that libc offers no safe wrapper for")]

use std::time::Duration;

/// Names the calling thread's clock to others; 0 if there is none. When the thread has ended the name means nothing, or another thread.
pub(crate) fn clock_of_this_thread() -> i32 {
    let mut clock = 0;
    // SAFETY: the calling thread is alive, and the call writes to `clock`.
    let result = unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &raw mut clock) };
    if result == 0 { clock } else { 0 }
}

/// What the clock of this name says.
pub(crate) fn read_thread_clock(clock: i32) -> Option<Duration> {
    if clock == 0 {
        return None;
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to `time`.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    (result == 0).then(|| Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

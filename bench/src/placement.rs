//! Where the kernel runs a thread and how urgent it holds it to be, for the workloads that say so.
//!
//! Only Linux is told; elsewhere threads stay where the kernel puts them.
#![cfg_attr(target_os = "linux", expect(unsafe_code, reason = "tells the kernel through libc"))]

/// The least urgent niceness that there is.
#[cfg(target_os = "linux")]
const NICENESS: libc::c_int = 19;

/// Pins the calling thread to the `index`-th of the CPUs that this process may use, counted round and round.
///
/// # Panics
/// If the kernel refuses, since what is then measured is something else.
#[cfg(target_os = "linux")]
pub(crate) fn pin_to_nth_cpu(index: usize) {
    let bytes = size_of::<libc::cpu_set_t>();
    // SAFETY: a set of CPUs is plain integers, for which zero is a value: the empty set.
    let mut usable: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let mut wanted = usable;
    // The process's main thread is never pinned: its CPUs are those that all may use.
    let process = i32::try_from(std::process::id()).expect("the kernel's ids fit");
    // SAFETY: `usable` is valid, has this many bytes, and may be written to.
    let status = unsafe { libc::sched_getaffinity(process, bytes, &mut usable) };
    assert_eq!(status, 0, "the usable CPUs cannot be read");
    // SAFETY: the numbers are below the set's size.
    let is_usable = |cpu: &usize| unsafe { libc::CPU_ISSET(*cpu, &usable) };
    let cpus: Vec<usize> = (0..libc::CPU_SETSIZE as usize).filter(is_usable).collect();
    // SAFETY: as above.
    unsafe { libc::CPU_SET(cpus[index % cpus.len()], &mut wanted) };
    // SAFETY: `wanted` is valid and has this many bytes; 0 is the calling thread.
    let status = unsafe { libc::sched_setaffinity(0, bytes, &wanted) };
    assert_eq!(status, 0, "the thread cannot be pinned");
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn pin_to_nth_cpu(_: usize) {}

/// Gives the calling thread niceness 19: the kernel prefers all others of the usual kind.
///
/// # Panics
/// If the kernel refuses, since what is then measured is something else.
#[cfg(target_os = "linux")]
pub(crate) fn be_nice() {
    // SAFETY: this only changes the calling thread's weight; 0 is the calling thread, on Linux.
    let status = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) };
    assert_eq!(status, 0, "the thread cannot be made nice");
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn be_nice() {}

/// Makes the calling thread one of `SCHED_IDLE`: the kernel runs it while its CPU would be idle otherwise.
///
/// # Panics
/// If the kernel refuses, since what is then measured is something else.
#[cfg(target_os = "linux")]
pub(crate) fn be_idle() {
    let parameter: libc::c_int = 0;
    // SAFETY: the kernel reads one integer, which lives until after the call; 0 is the calling thread.
    let status =
        unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, libc::SCHED_IDLE, &raw const parameter) };
    assert_eq!(status, 0, "the thread cannot be made an idle one");
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn be_idle() {}

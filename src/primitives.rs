//! The one module that decides where atomics, locks and fences come from.
//!
//! Everything else imports them from here, so that the same protocol code runs on the standard
//! library, under loom (`--cfg loom`: the protocol words alone, see `lib.rs`) and under shuttle
//! (`--cfg shuttle`: the whole scheduler on thread-backed fibers).
//!
//! It also holds the *asymmetric fence*: a pair of barriers of which one side is nearly free. Pushing
//! a job must be ordered before looking at who sleeps, and going to sleep before looking for jobs
//! (`sched/README.md`). Pushing happens a hundred million times a second and going to sleep a few thousand
//! times, so the pusher uses [`light_fence`] and the sleeper [`heavy_fence`], which on Linux makes
//! every running thread of the process execute a full barrier (`membarrier(2)`).

#![expect(unsafe_code, reason = "plain reads of atomics that nobody else writes")]

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{
    AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
mod short_lock;
#[cfg(shuttle)]
mod stepped;
#[cfg(not(any(loom, shuttle)))]
pub(crate) use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
#[cfg(shuttle)]
pub(crate) use stepped::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

#[cfg(loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard};
#[cfg(shuttle)]
pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard};
#[cfg(not(any(loom, shuttle)))]
pub(crate) use std::sync::{Mutex, MutexGuard};

pub(crate) use short_lock::{ShortGuard, ShortMutex};

/// Locks `mutex`, whether or not a holder panicked.
///
/// Every critical section of ramie either leaves its data consistent at each step or runs no user
/// code, so poisoning carries no information here.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// An atomic that only the calling thread writes.
///
/// PERF: a plain load can be an operand of another instruction; the compiler keeps those of atomics apart. Bench `fib`.
/// For the model checkers it is an atomic load: they do not see who else writes.
pub(crate) trait LoadOwn {
    type Value;

    /// The value that this thread has stored there last.
    ///
    /// # Safety
    ///
    /// Nobody else writes to it, since a moment that happens before this call.
    unsafe fn load_own(&self) -> Self::Value;
}

impl<T> LoadOwn for AtomicPtr<T> {
    type Value = *mut T;

    #[inline(always)]
    unsafe fn load_own(&self) -> *mut T {
        #[cfg(any(loom, shuttle))]
        return self.load(Ordering::Relaxed);
        // SAFETY: promised by the caller; reads of others do not race with this one.
        #[cfg(not(any(loom, shuttle)))]
        unsafe {
            *self.as_ptr()
        }
    }
}

impl LoadOwn for AtomicU64 {
    type Value = u64;

    #[inline(always)]
    unsafe fn load_own(&self) -> u64 {
        #[cfg(any(loom, shuttle))]
        return self.load(Ordering::Relaxed);
        // SAFETY: as above.
        #[cfg(not(any(loom, shuttle)))]
        unsafe {
            *self.as_ptr()
        }
    }
}

/// Tells the processor (or the model checker) that this is a busy wait.
#[inline]
pub(crate) fn spin_loop() {
    #[cfg(loom)]
    loom::hint::spin_loop();
    #[cfg(shuttle)]
    shuttle::hint::spin_loop();
    #[cfg(not(any(loom, shuttle)))]
    std::hint::spin_loop();
}

/// Lets other threads run.
pub(crate) fn yield_thread() {
    #[cfg(loom)]
    loom::thread::yield_now();
    #[cfg(shuttle)]
    shuttle::thread::yield_now();
    #[cfg(not(any(loom, shuttle)))]
    std::thread::yield_now();
}

/// The pusher's side of the asymmetric fence; orders its earlier stores before its later loads as
/// seen by a thread that executes [`heavy_fence`]. Nothing but an order to the compiler: where
/// [`asymmetric_fences_available`] says no, the pusher needs a full fence instead (`Attention` tells it so).
#[cfg(not(loom))]
#[inline(always)]
pub(crate) fn light_fence() {
    std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst);
}

/// The sleeper's side of the asymmetric fence.
#[cold]
pub(crate) fn heavy_fence(asymmetric: bool) {
    if asymmetric {
        crate::sys::process_wide_barrier();
    }
    // ORDERING: also without membarrier this pairs with the pusher's full fence.
    fence(Ordering::SeqCst);
}

/// Whether [`light_fence`] suffices for pushers in this process.
pub(crate) fn asymmetric_fences_available() -> bool {
    // Model checkers know nothing of membarrier: both sides are full fences there.
    if cfg!(any(loom, shuttle)) {
        return false;
    }
    let available = crate::sys::register_process_wide_barrier();
    if available {
        short_lock::rely_on_barriers();
    }
    available
}

/// Explores `model` with at most `preemptions` involuntary switches in an execution; the environment
/// variable `LOOM_MAX_PREEMPTIONS` raises that bound.
#[cfg(all(test, loom))]
pub(crate) fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(builder.preemption_bound.unwrap_or(0).max(preemptions));
    builder.check(model);
}

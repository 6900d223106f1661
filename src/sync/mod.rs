//! Locks, events and their like for jobs: a wait suspends the fiber, and its worker runs something else.
//!
//! All of them may be used by fibers of any system and by other threads at the same time; outside of jobs, and while a thread unwinds, a wait
//! parks the thread. Locks, events and permits that are there for the taking cost one compare-exchange; waiters stand in a list on their own
//! stacks (`queue.rs`), under a lock that is held for a few steps. A [Background](crate::Priority::Background) job may be stopped with any of them held,
//! that inner lock included: keep them apart from what frames' jobs use.
//!
//! Unlike their counterparts in the standard library they may be held, or waited for, across other waits: a `std::sync::Mutex` that a job holds
//! while it waits blocks the whole worker of everybody else who wants it.

#[cfg(not(loom))]
mod barrier;
pub(crate) mod barrier_word;
#[cfg(not(loom))]
pub(crate) mod cancel;
#[cfg(not(loom))]
pub mod channel;
#[cfg(not(loom))]
mod condvar;
pub(crate) mod condvar_word;
#[cfg(not(loom))]
mod event;
#[cfg(not(loom))]
mod event_future;
pub(crate) mod event_word;
#[cfg(not(loom))]
pub(crate) mod held;
#[cfg(not(loom))]
mod latch;
pub(crate) mod latch_word;
#[cfg(not(loom))]
mod lazy_lock;
#[cfg(not(loom))]
mod mutex;
pub(crate) mod mutex_word;
#[cfg(not(loom))]
mod once;
#[cfg(not(loom))]
mod once_lock;
pub(crate) mod once_word;
pub(crate) mod queue;
#[cfg(not(loom))]
mod rwlock;
pub(crate) mod rwlock_word;
#[cfg(not(loom))]
mod semaphore;
pub(crate) mod semaphore_word;
#[cfg(not(loom))]
mod wait;

#[cfg(not(loom))]
pub use {
    barrier::Barrier,
    cancel::CancelToken,
    condvar::Condvar,
    event::Event,
    event_future::EventFuture,
    held::{WaitsWithLock, count_waits_with_locks, waits_with_locks},
    latch::Latch,
    lazy_lock::LazyLock,
    mutex::{MappedMutexGuard, Mutex, MutexGuard, RawMutex},
    once::Once,
    once_lock::OnceLock,
    rwlock::{
        MappedRwLockReadGuard, MappedRwLockWriteGuard, RawRwLock, RwLock, RwLockReadGuard, RwLockWriteGuard,
    },
    semaphore::{OwnedPermits, Permits, Semaphore},
};

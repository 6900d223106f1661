//! A one-token parker: `unpark` leaves a token, `park` takes it or sleeps until there is one.
//!
//! Unlike `std::thread::park` the token belongs to ramie alone: code inside a job that parks its
//! thread neither takes our tokens nor leaves its own.
//!
//! ```text
//!            unpark                 park
//!   EMPTY ----------> NOTIFIED ------------> EMPTY   (returns at once)
//!     |                   ^
//!     | park              | unpark: also wakes the sleeper
//!     v                   |
//!   PARKED ---------------+
//! ```
//!
//! A parker must stay valid memory until the last `unpark` has returned: the system call that wakes
//! comes after the store that lets the sleeper go. All parkers of ramie live in memory that is
//! never given back (`memory/slots.rs`), so that a late call wakes nobody, or somebody for no reason.
#![cfg(not(loom))]

use std::time::Duration;

#[cfg(all(target_os = "linux", not(shuttle)))]
mod imp {
    use super::Duration;
    use crate::sys::linux::futex;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Instant;

    const EMPTY: u32 = 0;
    const NOTIFIED: u32 = 1;
    const PARKED: u32 = 2;

    pub(crate) struct Parker {
        /// Written by the one thread that parks (EMPTY -> PARKED, anything -> EMPTY) and by all that
        /// unpark (anything -> NOTIFIED).
        state: AtomicU32,
    }

    impl Parker {
        pub(crate) const fn new() -> Self {
            Self { state: AtomicU32::new(EMPTY) }
        }

        pub(crate) fn park(&self, timeout: Option<Duration>) -> bool {
            let deadline = timeout.and_then(|limit| Instant::now().checked_add(limit));
            // LIVENESS: a token is taken by a read-modify-write, never by a load and a store: another token that comes in between would be
            // gone, and what the caller looks at next may have been read before it came. ORDERING: Acquire pairs with the Release in
            // `unpark`: what was done before any token that is gone is visible.
            if self.state.swap(PARKED, Ordering::Acquire) == NOTIFIED {
                self.state.swap(EMPTY, Ordering::Acquire);
                return true;
            }
            loop {
                let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
                if left == Some(Duration::ZERO) {
                    // ORDERING: Acquire, as above: the token may have come at the last moment.
                    return self.state.swap(EMPTY, Ordering::Acquire) == NOTIFIED;
                }
                futex::wait(&self.state, PARKED, left);
                if self.state.load(Ordering::Relaxed) == NOTIFIED {
                    self.state.swap(EMPTY, Ordering::Acquire);
                    return true;
                }
            }
        }

        pub(crate) fn unpark(&self) {
            // ORDERING: Release pairs with the Acquire in `park`.
            if self.state.swap(NOTIFIED, Ordering::Release) == PARKED {
                futex::wake_one(&self.state);
            }
        }

        pub(crate) fn unpark_surely(&self) {
            self.state.store(NOTIFIED, Ordering::Release);
            futex::wake_one(&self.state);
        }
    }
}

#[cfg(any(not(target_os = "linux"), shuttle))]
mod imp {
    use super::Duration;
    #[cfg(shuttle)]
    use crate::primitives::Condvar;
    use crate::primitives::{Mutex, lock};
    #[cfg(not(shuttle))]
    use std::sync::Condvar;
    use std::time::Instant;

    pub(crate) struct Parker {
        notified: Mutex<bool>,
        wake: Condvar,
    }

    impl Parker {
        pub(crate) const fn new() -> Self {
            Self { notified: Mutex::new(false), wake: Condvar::new() }
        }

        pub(crate) fn park(&self, timeout: Option<Duration>) -> bool {
            // shuttle knows no time: a short limit is over after one step, a long one never.
            if cfg!(shuttle) && timeout.is_some_and(|limit| limit < Duration::from_millis(1)) {
                crate::primitives::yield_thread();
                return std::mem::take(&mut *lock(&self.notified));
            }
            let timeout = timeout.filter(|_| !cfg!(shuttle));
            let deadline = timeout.and_then(|limit| Instant::now().checked_add(limit));
            let mut notified = lock(&self.notified);
            while !*notified {
                match deadline {
                    None => notified = self.wake.wait(notified).unwrap_or_else(|e| e.into_inner()),
                    Some(at) => {
                        let left = at.saturating_duration_since(Instant::now());
                        if left.is_zero() {
                            return false;
                        }
                        notified =
                            self.wake.wait_timeout(notified, left).unwrap_or_else(|e| e.into_inner()).0;
                    }
                }
            }
            *notified = false;
            true
        }

        pub(crate) fn unpark(&self) {
            *lock(&self.notified) = true;
            self.wake.notify_one();
        }

        pub(crate) fn unpark_surely(&self) {
            self.unpark();
        }
    }
}

/// See the [module](self).
pub(crate) struct Parker(imp::Parker);

impl Parker {
    pub(crate) const fn new() -> Self {
        Self(imp::Parker::new())
    }

    /// Takes the token, sleeping until there is one. Only ever called by one thread at a time.
    pub(crate) fn park(&self) {
        self.0.park(None);
    }

    /// Like [`park`](Self::park), for at most `timeout`; false if no token came.
    pub(crate) fn park_timeout(&self, timeout: Duration) -> bool {
        self.0.park(Some(timeout))
    }

    /// Leaves the token and wakes the sleeper, if there is one.
    pub(crate) fn unpark(&self) {
        self.0.unpark();
    }

    /// As [`unpark`](Self::unpark), and wakes the sleeper also if somebody else has left a token and seems about to do so: that thread
    /// may have been stopped in between.
    pub(crate) fn unpark_surely(&self) {
        self.0.unpark_surely();
    }
}

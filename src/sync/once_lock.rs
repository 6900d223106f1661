//! `OnceLock`: a value is made once.

#![expect(unsafe_code, reason = "shares a value after it was written once")]

use super::once::Once;
use crate::TimedOut;
use std::cell::UnsafeCell;
use std::fmt;
use std::mem::MaybeUninit;
use std::time::Duration;

/// A value that is made once, by the first who asks; whoever asks meanwhile waits, without blocking a worker.
///
/// Unlike a `std::sync::OnceLock`, it may be used where the one who makes the value waits for other jobs. (A thread-local, or a lazy
/// static of the standard library, whose initialiser waits may be entered again by another job of the same thread, or block it.)
///
/// # Examples
///
/// ```
/// use ramie::sync::OnceLock;
///
/// static TABLE: OnceLock<Vec<u64>> = OnceLock::new();
/// let squares = || TABLE.get_or_init(|| ramie::par(0..100_u64).map_reduce(Vec::new(), |n| vec![n * n], |mut a, b| {
///     a.extend(b);
///     a
/// }));
/// let (a, b) = ramie::join(|| squares()[7], || squares()[9]);
/// assert_eq!((a, b), (49, 81));
/// ```
pub struct OnceLock<T> {
    once: Once,
    /// Written by the one whom `once` lets make it; initialised if that is done.
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: the value is written by one, and shared after that was published; whoever drops it may be another thread than the one that has made it.
unsafe impl<T: Send + Sync> Sync for OnceLock<T> {}

impl<T> OnceLock<T> {
    /// There is no value yet.
    pub const fn new() -> Self {
        Self { once: Once::new(), value: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    /// The value, if there is one.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        // SAFETY: it is done, so the value was written, and is only shared from then on.
        self.once.is_done().then(|| unsafe { (*self.value.get()).assume_init_ref() })
    }

    /// The value, if there is one.
    pub fn get_mut(&mut self) -> Option<&mut T> {
        // SAFETY: as above, and the caller has the only reference.
        self.once.is_done().then(|| unsafe { self.value.get_mut().assume_init_mut() })
    }

    /// The value, which `f` makes if there is none.
    ///
    /// # Panics
    ///
    /// As [`Once::call_once`].
    ///
    /// # Suspends
    ///
    /// Inside a job, while somebody else makes it. Elsewhere the thread blocks.
    #[inline]
    #[track_caller]
    pub fn get_or_init(&self, f: impl FnOnce() -> T) -> &T {
        // SAFETY: only the one whom `once` lets run writes, before anybody reads.
        self.once.call_once(|| unsafe {
            (*self.value.get()).write(f());
        });
        self.made()
    }

    /// The value, which `f` makes if there is none. If it fails there is still none, and the next who asks, or who waits for it, tries.
    ///
    /// # Errors
    ///
    /// That of `f`.
    ///
    /// # Panics
    ///
    /// As [`Once::call_once`].
    ///
    /// # Suspends
    ///
    /// As [`get_or_init`](Self::get_or_init).
    ///
    /// # Examples
    ///
    /// ```
    /// use ramie::sync::OnceLock;
    ///
    /// let port = OnceLock::new();
    /// assert!(port.get_or_try_init(|| "x".parse::<u16>()).is_err());
    /// assert_eq!(port.get_or_try_init(|| "80".parse::<u16>()), Ok(&80));
    /// ```
    #[inline]
    #[track_caller]
    pub fn get_or_try_init<E>(&self, f: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        self.once.try_call_once(|| {
            let value = f()?;
            // SAFETY: as above.
            unsafe { (*self.value.get()).write(value) };
            Ok(())
        })?;
        Ok(self.made())
    }

    /// Waits until somebody else has made the value, or [set](Self::set) it.
    ///
    /// # Panics
    ///
    /// With `FiberLimit` if it had to suspend the last fiber of this worker and no other can be made.
    ///
    /// # Suspends
    ///
    /// Inside a job, unless there is a value. Elsewhere the thread blocks.
    ///
    /// # Examples
    ///
    /// ```
    /// use ramie::sync::OnceLock;
    ///
    /// static ADDRESS: OnceLock<String> = OnceLock::new();
    /// let waiter = ramie::spawn(|| ADDRESS.wait().len());
    /// ADDRESS.set("::1".into()).unwrap();
    /// assert_eq!(waiter.join().unwrap(), 3);
    /// ```
    #[inline]
    #[track_caller]
    pub fn wait(&self) -> &T {
        self.once.wait();
        self.made()
    }

    /// As [`wait`](Self::wait), for at most this long.
    ///
    /// # Errors
    ///
    /// [`TimedOut`] if there was no value in time.
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Suspends
    ///
    /// As [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_timeout(&self, limit: Duration) -> Result<&T, TimedOut> {
        self.once.wait_timeout(limit)?;
        Ok(self.made())
    }

    #[inline]
    fn made(&self) -> &T {
        self.get().expect("it was made")
    }

    /// Gives it this value.
    ///
    /// # Errors
    ///
    /// The value, if there is one already.
    ///
    /// # Panics
    ///
    /// As [`Once::call_once`], which it is.
    #[track_caller]
    pub fn set(&self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        self.get_or_init(|| value.take().expect("called once"));
        value.map_or(Ok(()), Err)
    }

    /// The value, if there is one.
    pub fn into_inner(mut self) -> Option<T> {
        self.take()
    }

    /// Takes the value out, if there is one, and leaves none.
    pub fn take(&mut self) -> Option<T> {
        if !self.once.is_done() {
            return None;
        }
        self.once = Once::new();
        // SAFETY: it was done, and is not any more, so this is the only use of the value.
        Some(unsafe { self.value.get_mut().assume_init_read() })
    }
}

impl<T> Drop for OnceLock<T> {
    fn drop(&mut self) {
        drop(self.take());
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> From<T> for OnceLock<T> {
    fn from(value: T) -> Self {
        let once = Once::new();
        once.end(true);
        Self { once, value: UnsafeCell::new(MaybeUninit::new(value)) }
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OnceLock").field(&self.get()).finish()
    }
}

impl<T: std::panic::RefUnwindSafe + std::panic::UnwindSafe> std::panic::RefUnwindSafe for OnceLock<T> {}
impl<T: std::panic::UnwindSafe> std::panic::UnwindSafe for OnceLock<T> {}

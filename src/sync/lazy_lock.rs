//! `LazyLock`: a value that knows how it is made.

#![expect(unsafe_code, reason = "shares a function that is taken once")]

use super::once_lock::OnceLock;
use std::cell::Cell;
use std::fmt;
use std::ops::Deref;
use std::panic::{RefUnwindSafe, UnwindSafe};

/// A value that is made when it is used for the first time; whoever uses it meanwhile waits, without blocking a worker.
///
/// Unlike a `std::sync::LazyLock`, it may be used where the function that makes the value waits for other jobs; see [`OnceLock`].
///
/// # Panics
///
/// A use panics if the function does, and then every later use: the function can be called once. Also with `FiberLimit` if it had to suspend the
/// last fiber of this worker and no other can be made. If the function uses this very value, it waits for itself, for ever.
///
/// # Suspends
///
/// Inside a job, while another makes the value. Elsewhere the thread blocks.
///
/// # Examples
///
/// ```
/// use ramie::sync::LazyLock;
///
/// static SUM: LazyLock<u64> = LazyLock::new(|| ramie::par(0..1000_u64).map_reduce(0, |n| n, |a, b| a + b));
/// let (a, b) = ramie::join(|| *SUM, || *SUM + 1);
/// assert_eq!((a, b), (499_500, 499_501));
/// ```
pub struct LazyLock<T, F = fn() -> T> {
    value: OnceLock<T>,
    /// Taken by the one whom `value` lets make it.
    make: Cell<Option<F>>,
}

// SAFETY: `make` is touched only by the one whom `value` lets make it, who may be another thread than the one that has put it there.
unsafe impl<T: Send + Sync, F: Send> Sync for LazyLock<T, F> {}

impl<T, F: FnOnce() -> T> LazyLock<T, F> {
    /// A value that `make` makes when it is used.
    pub const fn new(make: F) -> Self {
        Self { value: OnceLock::new(), make: Cell::new(Some(make)) }
    }

    /// Makes the value if there is none; `*lazy` does so too.
    ///
    /// # Panics
    ///
    /// As the [type](Self#panics) says.
    ///
    /// # Suspends
    ///
    /// As the [type](Self#suspends) says.
    #[inline]
    #[track_caller]
    pub fn force(lazy: &Self) -> &T {
        lazy.value.get_or_init(|| match lazy.make.take() {
            Some(make) => make(),
            None => panic!("LazyLock: the function that makes the value has panicked before"),
        })
    }
}

impl<T, F> LazyLock<T, F> {
    /// The value, if it was made.
    #[inline]
    pub fn get(lazy: &Self) -> Option<&T> {
        lazy.value.get()
    }

    /// The value, or the function that was not called. `None` if that has panicked.
    pub fn into_inner(lazy: Self) -> Option<Result<T, F>> {
        let make = lazy.make.take();
        lazy.value.into_inner().map(Ok).or_else(|| make.map(Err))
    }
}

impl<T, F: FnOnce() -> T> Deref for LazyLock<T, F> {
    type Target = T;

    #[inline]
    #[track_caller]
    fn deref(&self) -> &T {
        Self::force(self)
    }
}

impl<T: Default> Default for LazyLock<T> {
    fn default() -> Self {
        Self::new(T::default)
    }
}

impl<T: fmt::Debug, F> fmt::Debug for LazyLock<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LazyLock").field(&self.value.get()).finish()
    }
}

impl<T: RefUnwindSafe + UnwindSafe, F: UnwindSafe> RefUnwindSafe for LazyLock<T, F> {}
impl<T: UnwindSafe, F: UnwindSafe> UnwindSafe for LazyLock<T, F> {}

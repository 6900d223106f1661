//! Atomics for shuttle: those of std, with a point at each access where another thread may run.
//!
//! shuttle's own ones are larger than the words that they stand for, so that nothing would fit into
//! its cache lines and blocks, and they remember the execution in which they were used.

use std::fmt;
pub(crate) use std::sync::atomic::Ordering;
use std::sync::atomic::{self, Ordering::SeqCst};

/// Lets shuttle choose who goes on. shuttle explores interleavings, not reorderings.
fn step() {
    shuttle::sync::atomic::AtomicBool::new(false).load(SeqCst);
}

pub(crate) fn fence(_: Ordering) {
    step();
}

macro_rules! stepped {
    ($name:ident [$($generics:tt)*] $value:ty, $($fetch:ident)*) => {
        /// See the [module](self).
        pub(crate) struct $name $($generics)* (atomic::$name $($generics)*);

        #[allow(dead_code, reason = "one list of operations for all")]
        impl $($generics)* $name $($generics)* {
            pub(crate) const fn new(value: $value) -> Self {
                Self(atomic::$name::new(value))
            }

            pub(crate) fn load(&self, _: Ordering) -> $value {
                step();
                self.0.load(SeqCst)
            }

            pub(crate) fn store(&self, value: $value, _: Ordering) {
                step();
                self.0.store(value, SeqCst);
            }

            pub(crate) fn swap(&self, value: $value, _: Ordering) -> $value {
                step();
                self.0.swap(value, SeqCst)
            }

            pub(crate) fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                _: Ordering,
                _: Ordering,
            ) -> Result<$value, $value> {
                step();
                self.0.compare_exchange(current, new, SeqCst, SeqCst)
            }

            pub(crate) fn compare_exchange_weak(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.compare_exchange(current, new, success, failure)
            }

            $(pub(crate) fn $fetch(&self, value: $value, _: Ordering) -> $value {
                step();
                self.0.$fetch(value, SeqCst)
            })*
        }

        impl $($generics)* fmt::Debug for $name $($generics)* {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

stepped!(AtomicU8[] u8,);

impl AtomicU8 {
    /// Reads without a step: for dumps, which look at every fiber there is, also at those of earlier executions.
    pub(crate) fn peek(&self) -> u8 {
        self.0.load(SeqCst)
    }
}

stepped!(AtomicU32[] u32, fetch_add fetch_sub fetch_and fetch_or fetch_max);
stepped!(AtomicU64[] u64, fetch_add fetch_sub fetch_and fetch_or fetch_max);
stepped!(AtomicUsize[] usize, fetch_add fetch_sub fetch_and fetch_or fetch_max fetch_min);
stepped!(AtomicPtr[<T>] *mut T,);

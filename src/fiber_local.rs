//! Fiber-locals: values that belong to a job, wherever its calls lead.
//!
//! A fiber's word of the job that runs (see `trace/site.rs`) points to a [`JobLocals`] instead of the job's place once the job has used a local. Entering and
//! leaving a job saves and restores that word, so an inlined child has locals of its own, and whoever leaves a job looks at one bit to see whether there is
//! something to drop.

#![expect(unsafe_code, reason = "values behind type-erased pointers, in recycled slots")]

use crate::error::PanicKind;
use crate::fiber::Fiber;
use crate::memory::slots::{Cache, Caches, Depot, Slot};
use crate::sched::current;
use crate::trace::event;
use std::cell::{Cell, RefCell, UnsafeCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use thiserror::Error;

/// Declares values of which every job has its own, as `std::thread_local!` does for threads.
///
/// A local is made when its job uses it for the first time, and dropped at the job's end, the last one first, before the job's counters are signalled. It
/// stays the same across waits, also while other jobs run on the same thread, and it need not be `Send`.
///
/// Jobs that run in place of a wait - joined handles, members of scopes - have locals of their own, as everywhere else. The halves of a
/// [`join`](crate::join()), and the pieces of a loop, are parts of the job that calls it, and use its locals, unless another worker has taken them: then they have
/// their own. So a local is no way to hand something down: use captures for that.
///
/// # Examples
///
/// ```
/// use std::cell::Cell;
///
/// ramie::fiber_local! {
///     /// How many entities this job has touched.
///     static TOUCHED: Cell<u32> = Cell::new(0);
/// }
///
/// let job = |n| move || {
///     for _ in 0..n {
///         TOUCHED.set(TOUCHED.get() + 1);
///         ramie::yield_now(); // others run, with their own
///     }
///     TOUCHED.get()
/// };
/// let (a, b) = (ramie::spawn(job(3)), ramie::spawn(job(5)));
/// assert_eq!((a.join()?, b.join()?), (3, 5));
/// # Ok::<(), ramie::JobError>(())
/// ```
#[macro_export]
macro_rules! fiber_local {
    () => {};
    ($(#[$attribute:meta])* $vis:vis static $name:ident : $type:ty = $value:expr $(; $($rest:tt)*)?) => {
        $(#[$attribute])*
        $vis static $name: $crate::FiberLocal<$type> = {
            fn initial() -> $type {
                $value
            }
            $crate::FiberLocal::new(initial)
        };
        $($crate::fiber_local! { $($rest)* })?
    };
}

/// A value of which every job has its own; declared by [`fiber_local!`](crate::fiber_local).
pub struct FiberLocal<T: 'static> {
    initial: fn() -> T,
    /// Its number among all locals of the process; 0 before its first use.
    number: AtomicU64,
}

/// Why there is no such value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FiberLocalError {
    /// The caller is not in a job.
    #[error("a fiber-local belongs to a job, and this is not called inside one")]
    NotInJob,
    /// The job has ended and drops its locals; this one was not made before, or was dropped already.
    #[error("the job has ended: this fiber-local was dropped, or was never made")]
    Ended,
}

impl<T: 'static> FiberLocal<T> {
    #[doc(hidden)]
    pub const fn new(initial: fn() -> T) -> Self {
        Self { initial, number: AtomicU64::new(0) }
    }

    /// Calls `f` with the calling job's value, which is made if there is none yet. `f` may wait.
    ///
    /// # Panics
    ///
    /// Outside of jobs, and for a value that was dropped, or never made, while its job's locals are dropped. Also with a panic of `f`, and of the expression that
    /// makes the value.
    #[track_caller]
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        match self.try_with(f) {
            Ok(result) => result,
            Err(error) => panic!("{error}"),
        }
    }

    /// As [`with`](Self::with).
    ///
    /// # Errors
    ///
    /// [`FiberLocalError`] where `with` panics by itself.
    pub fn try_with<R>(&'static self, f: impl FnOnce(&T) -> R) -> Result<R, FiberLocalError> {
        let locals = JobLocals::of_this_job().ok_or(FiberLocalError::NotInJob)?;
        let number = self.number();
        let value = match locals.find(number) {
            Some(value) => value,
            None if locals.ending.get() => return Err(FiberLocalError::Ended),
            None => {
                // Code of users, which may use locals, this one included, and wait.
                let value = (self.initial)();
                match locals.find(number) {
                    Some(known) => known,
                    None => locals.add(number, value),
                }
            }
        };
        // SAFETY: values are boxed, and dropped only at the end of the job that calls this; those of this number are of this type. Only that job's
        // thread uses it, or, where fibers migrate, its fiber, for which whoever opted in has vouched.
        Ok(f(unsafe { &*value.cast::<T>() }))
    }

    fn number(&self) -> u64 {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let number = self.number.load(Ordering::Relaxed);
        if number != 0 {
            return number;
        }
        let fresh = NUMBERS.fetch_add(1, Ordering::Relaxed);
        match self.number.compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => fresh,
            Err(known) => known,
        }
    }
}

impl<T: 'static> FiberLocal<Cell<T>> {
    /// A copy of the value.
    ///
    /// # Panics
    ///
    /// As [`with`](Self::with).
    #[track_caller]
    pub fn get(&'static self) -> T
    where
        T: Copy,
    {
        self.with(Cell::get)
    }

    /// Changes the value.
    ///
    /// # Panics
    ///
    /// As [`with`](Self::with).
    #[track_caller]
    pub fn set(&'static self, value: T) {
        self.with(|cell| cell.set(value));
    }

    /// Changes the value, and gives the one before.
    ///
    /// # Panics
    ///
    /// As [`with`](Self::with).
    #[track_caller]
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }

    /// Takes the value out, and leaves the default.
    ///
    /// # Panics
    ///
    /// As [`with`](Self::with).
    #[track_caller]
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with(Cell::take)
    }
}

impl<T: 'static> FiberLocal<RefCell<T>> {
    /// Calls `f` with the value, borrowed.
    ///
    /// # Panics
    ///
    /// As [`with`](Self::with), and if it is borrowed mutably.
    #[track_caller]
    pub fn with_borrow<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        self.with(|cell| f(&cell.borrow()))
    }

    /// Calls `f` with the value, borrowed mutably.
    ///
    /// # Panics
    ///
    /// As [`with`](Self::with), and if it is borrowed.
    #[track_caller]
    pub fn with_borrow_mut<R>(&'static self, f: impl FnOnce(&mut T) -> R) -> R {
        self.with(|cell| f(&mut cell.borrow_mut()))
    }
}

impl<T: 'static> fmt::Debug for FiberLocal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FiberLocal").finish_non_exhaustive()
    }
}

/// Set in a fiber's word of its job if that points to a [`JobLocals`].
pub(crate) const LOCALS_TAG: usize = 2;

static LOCALS: Depot = Depot::new();

/// A value, and how to drop it.
struct Value {
    number: u64,
    value: *mut (),
    drop: unsafe fn(*mut ()),
}

/// The locals of a job that has used some.
#[repr(C, align(64))]
pub(crate) struct JobLocals {
    /// The job's place; for dumps of other threads, too.
    site: AtomicPtr<()>,
    /// In the order in which they were made. Used by the job's fiber alone, and never while code of users runs.
    values: UnsafeCell<Vec<Value>>,
    /// Whether they are being dropped.
    ending: Cell<bool>,
    /// Whether somebody has asked for the job's end. PERF: so a job that nobody watches has one check at its end, which it has anyway
    /// (`ramie-bench instructions`, path `detach`).
    watched: Cell<bool>,
    #[cfg(all(feature = "tracy", not(any(shuttle, loom))))]
    pub(crate) zone: crate::trace::tracy::Zone,
}

// SAFETY: but for `site` it is used by the fiber alone whose job it belongs to, and by the root of the worker that is about to resume it: one after the
// other, by whatever handed the fiber to that worker.
unsafe impl Sync for JobLocals {}

// SAFETY: 1. No id of it is given to anybody. 2. Slots are not moved or freed. 3. `LOCALS` serves this type alone.
unsafe impl Slot for JobLocals {
    fn vacant(_: u32) -> Self {
        Self {
            site: AtomicPtr::new(ptr::null_mut()),
            values: UnsafeCell::new(Vec::new()),
            ending: Cell::new(false),
            watched: Cell::new(false),
            #[cfg(all(feature = "tracy", not(any(shuttle, loom))))]
            zone: Default::default(),
        }
    }

    fn depot() -> &'static Depot {
        &LOCALS
    }

    fn cache(caches: &Caches) -> &Cache {
        &caches.locals
    }
}

const _: () = assert!(align_of::<JobLocals>() > LOCALS_TAG);

impl JobLocals {
    /// Where debuggers find the job's place.
    #[cfg(all(target_os = "linux", target_arch = "x86_64", not(shuttle)))]
    pub(crate) const SITE_OFFSET: usize = std::mem::offset_of!(JobLocals, site);

    /// Those of the calling job, which are made if there are none; `None` outside of jobs.
    fn of_this_job() -> Option<&'static Self> {
        let fiber = current::worker().filter(|worker| worker.in_fiber())?.current_fiber();
        let word = fiber.job_word();
        (!word.is_null()).then(|| Self::of(fiber))
    }

    /// Those of the job of `fiber`, which are made if there are none.
    fn of(fiber: &Fiber) -> &'static Self {
        let word = fiber.job_word();
        if let Some(locals) = Self::from_word(word) {
            return locals;
        }
        let locals = current::with_caches(|caches| caches.locals.alloc::<JobLocals>());
        locals.site.store(word, Ordering::Relaxed);
        fiber.set_job_word(ptr::from_ref(locals).cast_mut().map_addr(|addr| addr | LOCALS_TAG).cast());
        locals
    }

    /// The job of `fiber`, which runs or is about to on this thread, tells of its end.
    pub(crate) fn watch(fiber: &Fiber) -> &'static Self {
        let locals = Self::of(fiber);
        locals.watched.set(true);
        locals
    }

    /// The locals that a fiber's word points to, if it points to some.
    #[inline]
    pub(crate) fn from_word(word: *mut ()) -> Option<&'static Self> {
        if word.addr() & LOCALS_TAG == 0 {
            return None;
        }
        // SAFETY: tagged by `of`; slots live for ever.
        Some(unsafe { &*word.map_addr(|addr| addr & !LOCALS_TAG).cast::<JobLocals>() })
    }

    /// The job's place, in the form of a fiber's word.
    pub(crate) fn site_word(&self) -> *mut () {
        self.site.load(Ordering::Relaxed)
    }

    fn find(&self, number: u64) -> Option<*mut ()> {
        // SAFETY: this is the job's fiber, and no code of users runs in here.
        let values = unsafe { &*self.values.get() };
        values.iter().find(|value| value.number == number).map(|value| value.value)
    }

    fn add<T>(&self, number: u64, value: T) -> *mut () {
        unsafe fn drop_value<T>(value: *mut ()) {
            // SAFETY: made by `add`, and dropped once.
            drop(unsafe { Box::from_raw(value.cast::<T>()) });
        }
        let value = Box::into_raw(Box::new(value)).cast();
        // SAFETY: as in `find`.
        unsafe { &mut *self.values.get() }.push(Value { number, value, drop: drop_value::<T> });
        value
    }

    /// The job of `fiber` has ended: drops the locals, tells of it, and goes on with the job of this word, if there is one, which is watched in its turn.
    #[cold]
    #[inline(never)]
    pub(crate) fn end(&'static self, fiber: &Fiber, has_panicked: bool, outer: *mut ()) {
        self.ending.set(true);
        // SAFETY: as in `find`; it is asked anew after each destructor, which is code of users.
        while let Some(Value { value, drop, .. }) = unsafe { &mut *self.values.get() }.pop() {
            // SAFETY: it was just taken out, so this is the one call.
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| unsafe { drop(value) })) {
                let system = current::worker().expect("a job's fiber").system().index;
                crate::system::report_panic(system, PanicKind::Destructor, fiber.site(), payload);
            }
        }
        self.ending.set(false);
        let was_watched = self.watched.replace(false);
        if was_watched {
            event::job_ended(fiber, has_panicked);
            #[cfg(all(feature = "tracy", not(any(shuttle, loom))))]
            crate::trace::tracy::end(&self.zone);
        }
        fiber.set_job_word(outer);
        if was_watched && !outer.is_null() {
            Self::watch(fiber);
        }
        // SAFETY: 1. Allocated in `of`. 2. The fiber's word was the only one that referred to it, but for dumps, which read `site`.
        current::with_caches(|caches| unsafe { caches.locals.free(self) });
    }
}

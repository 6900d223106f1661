//! Futures: waited for in jobs, and made of what jobs do.

#![expect(unsafe_code, reason = "a waker of a stack frame")]

use super::poll_waiter::Registered;
use super::wake_cell::WakeCell;
use crate::error::fiber_limit;
use crate::fiber::WaitKind;
use crate::job::JobHandle;
use crate::sched::wait::{self, WaitFor};
use crate::{Counter, spawn};
use std::fmt;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

/// Waits for a future: polls it, suspends the fiber until its waker is called, polls it again, and so on. Outside of jobs the thread parks.
///
/// The future need not be `Send`: it is polled where it is. Its wakers may be called from any thread, late, twice, or after all has ended.
/// A future that is ready costs no more than its poll; one that is not costs a cell of a pool for the whole wait, and nothing for each poll.
///
/// What the future needs from a runtime - tokio's sockets and timers want one - must be entered for each poll, and left again: a guard that is held
/// across a wait would be everybody's on this thread. [`poll_within`] does that.
///
/// # Panics
///
/// With a panic of the future. Also with `FiberLimit` if it had to suspend the last fiber of this worker and no other can be made.
///
/// # Suspends
///
/// Inside a job, whenever the future is not ready.
///
/// # Examples
///
/// ```
/// let answer = ramie::spawn(|| ramie::block_on(async { 6 * 7 }));
/// assert_eq!(answer.join()?, 42);
/// # Ok::<(), ramie::JobError>(())
/// ```
#[inline]
#[track_caller]
pub fn block_on<F: IntoFuture>(future: F) -> F::Output {
    let site = Location::caller();
    let mut future = pin!(future.into_future());
    let first = FirstWaker { cell: AtomicPtr::new(ptr::null_mut()), notified: AtomicBool::new(false) };
    if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&first.waker())) {
        return output;
    }
    let cell = first.begin_to_wait();
    let waker = cell.borrowed_waker();
    let mut context = Context::from_waker(&waker);
    loop {
        wait_for_wake(cell, site);
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

/// Waits until the cell was notified.
fn wait_for_wake(cell: &'static WakeCell, site: &'static Location<'static>) {
    let what = WaitFor { kind: WaitKind::Future, object: 0, site };
    while !cell.word.take() {
        if wait::wait(what, |node| cell.word.wait(node.as_ptr())).is_err() {
            fiber_limit("waiting for a future");
        }
    }
}

/// The waker of a future's first poll: a cell is taken only when it is cloned.
///
/// PERF: most of what is awaited in games and simulations is ready; bench `block_on_ready`.
struct FirstWaker {
    /// Made by the first clone, or when the future is not ready; this has a reference to it.
    cell: AtomicPtr<WakeCell>,
    /// It was called itself, not a clone.
    notified: AtomicBool,
}

impl FirstWaker {
    #[inline]
    fn waker(&self) -> ManuallyDrop<Waker> {
        // SAFETY: the functions below do what `RawWaker` asks for. The waker is only lent to the poll, so this frame outlives it; clones refer
        // to a cell.
        ManuallyDrop::new(unsafe { Waker::new(ptr::from_ref(self).cast(), &FIRST_VTABLE) })
    }

    /// The future was not ready: the cell for what follows.
    #[cold]
    fn begin_to_wait(&self) -> &'static WakeCell {
        let cell = self.cell();
        if self.notified.load(Ordering::Acquire) {
            // Nobody waits yet.
            cell.word.notify();
        }
        cell
    }

    /// The cell, of which one is taken if there is none. Several threads may ask at once: the waker is `Sync`.
    fn cell(&self) -> &'static WakeCell {
        let known = self.cell.load(Ordering::Acquire);
        // SAFETY: null, or a cell in its slot, to which `self` has a reference.
        if let Some(cell) = unsafe { known.as_ref() } {
            return cell;
        }
        let fresh = WakeCell::take();
        let address = ptr::from_ref(fresh).cast_mut();
        match self.cell.compare_exchange(ptr::null_mut(), address, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => fresh,
            Err(known) => {
                fresh.drop_reference();
                // SAFETY: as above, and not null.
                unsafe { &*known }
            }
        }
    }
}

impl Drop for FirstWaker {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: as in `cell`.
        if let Some(cell) = unsafe { self.cell.get_mut().as_ref() } {
            cell.drop_reference();
        }
    }
}

static FIRST_VTABLE: RawWakerVTable = RawWakerVTable::new(clone_first, notify_first, notify_first, |_| {});

unsafe fn clone_first(data: *const ()) -> RawWaker {
    // SAFETY: a waker is called with what it was made of, which `FirstWaker::waker` says is in place.
    unsafe { &*data.cast::<FirstWaker>() }.cell().raw_waker()
}

unsafe fn notify_first(data: *const ()) {
    // SAFETY: as above.
    unsafe { &*data.cast::<FirstWaker>() }.notified.store(true, Ordering::Release);
}

/// Spawns a job that waits for a future, and gives its handle; as `spawn(|| block_on(future))`.
///
/// While the future is not ready the job's fiber waits, which takes a page or two of stack: thousands at once are fine, and for
/// millions an async runtime is the better place. Dropping the handle lets the job run on.
///
/// # Examples
///
/// ```
/// let (a, b) = (ramie::spawn(|| 1), ramie::spawn(|| 2));
/// let sum = ramie::spawn_future(async { a.await.unwrap() + b.await.unwrap() });
/// assert_eq!(sum.join()?, 3);
/// # Ok::<(), ramie::JobError>(())
/// ```
#[track_caller]
pub fn spawn_future<F>(future: F) -> JobHandle<F::Output>
where
    F: IntoFuture + Send + 'static,
    F::Output: Send + 'static,
{
    spawn(move || block_on(future))
}

/// A future whose polls, and whose drop, happen within `around`, which calls what it is given: to enter a runtime for each poll.
///
/// ```
/// # struct Runtime;
/// # struct Entered<'a>(&'a Runtime);
/// # impl Runtime { fn enter(&self) -> Entered<'_> { Entered(self) } }
/// # let (runtime, connect) = (Runtime, async { 7 });
/// // With tokio, `runtime` is a `tokio::runtime::Handle`.
/// let future = ramie::poll_within(
///     move |poll| {
///         let _entered = runtime.enter();
///         poll();
///     },
///     connect,
/// );
/// assert_eq!(ramie::block_on(future), 7);
/// ```
///
/// # Panics
///
/// When it is polled, if `around` returns without having called what it was given.
pub fn poll_within<A, F>(around: A, future: F) -> PollWithin<A, F>
where
    A: FnMut(&mut dyn FnMut()),
    F: Future,
{
    PollWithin { around, future: Some(future) }
}

/// See [`poll_within`].
#[must_use = "futures do nothing unless they are polled"]
pub struct PollWithin<A: FnMut(&mut dyn FnMut()), F> {
    around: A,
    /// Pinned with this. `None` only while it is dropped.
    future: Option<F>,
}

impl<A: FnMut(&mut dyn FnMut()), F: Future> Future for PollWithin<A, F> {
    type Output = F::Output;

    #[track_caller]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: the future is not moved out, here or in `drop`, and `around` is never pinned. There is no `Unpin` but the automatic one, which asks
        // for that of the future.
        let (around, mut future) = unsafe {
            let this = self.get_unchecked_mut();
            let future = this.future.as_mut().expect("there until it is dropped");
            (&mut this.around, Pin::new_unchecked(future))
        };
        let mut polled = None;
        around(&mut || {
            if polled.is_none() {
                polled = Some(future.as_mut().poll(context));
            }
        });
        polled.expect("poll_within: the closure around polls must call what it is given")
    }
}

impl<A: FnMut(&mut dyn FnMut()), F> Drop for PollWithin<A, F> {
    fn drop(&mut self) {
        let future = &mut self.future;
        // In its place, as a pinned future has to be. If this is not called, the future is dropped afterwards.
        (self.around)(&mut || *future = None);
    }
}

impl<A: FnMut(&mut dyn FnMut()), F> fmt::Debug for PollWithin<A, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PollWithin").finish_non_exhaustive()
    }
}

/// Ready once a counter was zero at some moment since the first poll; made by [`Counter`]'s `IntoFuture`.
#[must_use = "futures do nothing unless they are polled"]
pub struct CounterFuture {
    counter: Counter,
    registered: Option<Registered>,
}

impl Future for CounterFuture {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if let Some(registered) = &this.registered {
            if !registered.is_woken(context.waker()) {
                return Poll::Pending;
            }
            this.registered.take().into_iter().for_each(Registered::finish);
            return Poll::Ready(());
        }
        if this.counter.is_zero() {
            return Poll::Ready(());
        }
        let registered = Registered::begin(context.waker());
        let entry = registered.counter_entry(0);
        if this.counter.cell().register(entry) {
            this.registered = Some(registered);
            return Poll::Pending;
        }
        registered.unused();
        Poll::Ready(())
    }
}

impl Drop for CounterFuture {
    fn drop(&mut self) {
        if let Some(registered) = self.registered.take() {
            if registered.withdraw() {
                self.counter.cell().unregister(registered.as_counter_entry());
                registered.free();
            } else {
                registered.finish();
            }
        }
    }
}

impl fmt::Debug for CounterFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CounterFuture").field("counter", &self.counter).finish()
    }
}

/// `counter.await`: until it is zero.
impl IntoFuture for Counter {
    type Output = ();
    type IntoFuture = CounterFuture;

    fn into_future(self) -> CounterFuture {
        CounterFuture { counter: self, registered: None }
    }
}

/// As for `Counter`.
impl IntoFuture for &Counter {
    type Output = ();
    type IntoFuture = CounterFuture;

    fn into_future(self) -> CounterFuture {
        self.clone().into_future()
    }
}

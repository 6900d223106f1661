//! Switching between a worker's root and its fibers, behind one small trait.
//!
//! [`Stackful`] is the real thing, on corosensei. [`ThreadBacked`] runs each fiber on a thread of
//! its own and passes a baton: it is for model checkers, which cannot follow a switch of stacks. Which
//! one [`Context`] names is decided at compile time.

#![expect(unsafe_code, reason = "corosensei's yielder is kept as a pointer between switches")]

use super::stack::StackError;
use crate::sched::worker::Worker;
use std::cell::Cell;

#[cfg(not(shuttle))]
pub(crate) type Context = Stackful;
#[cfg(shuttle)]
pub(crate) type Context = ThreadBacked;

/// What runs on a fiber; it gets the worker that the fiber belongs to.
pub(crate) type Body = fn(&'static Worker);

/// A suspended computation with a stack.
pub(crate) trait Switch: Sized {
    /// Makes a context that will run `body` when it is resumed for the first time.
    fn new(body: Body, worker: &'static Worker) -> Result<Self, StackError>;

    /// Runs the context until it suspends or ends; true if it ended. Called by the worker's root.
    fn resume(&self) -> bool;

    /// Returns to the root until the next [`resume`](Self::resume).
    ///
    /// # Safety
    ///
    /// The caller runs inside this very context.
    unsafe fn suspend(&self);

    /// Gives what a context consists of that has ended, or was never resumed, back to the worker that it was last on.
    fn dismantle(self, worker: &Worker);

    /// An address on its stack; 0 before it has started.
    fn anchor(&self) -> usize;
}

/// Calls `f` on a large stack of the worker, and from there on like a call in place: `f` may suspend, and
/// must not unwind. The fiber may be on another worker afterwards, where fibers migrate.
#[cfg(not(shuttle))]
pub(crate) fn call_on_large_stack<R>(
    worker: &'static Worker,
    f: impl FnOnce() -> R,
) -> Result<R, StackError> {
    use corosensei::stack::Stack as _;
    let mut stack = worker.stacks().take_large()?;
    let fiber = worker.current_fiber();
    let before = fiber.swap_large_stack(stack.limit().get());
    let result = corosensei::on_stack(&mut stack, f);
    fiber.swap_large_stack(before);
    worker.now().stacks().give_large(stack);
    Ok(result)
}

/// Threads have the stack that they have.
#[cfg(shuttle)]
pub(crate) fn call_on_large_stack<R>(_: &'static Worker, f: impl FnOnce() -> R) -> Result<R, StackError> {
    Ok(f())
}

#[cfg(not(shuttle))]
pub(crate) use stackful::Stackful;

#[cfg(not(shuttle))]
mod stackful {
    use super::super::stack::FiberStack;
    use super::{Body, Cell, StackError, Switch, Worker};
    use corosensei::{Coroutine, CoroutineResult, Yielder};
    use std::cell::UnsafeCell;
    use std::ptr;

    /// A coroutine of corosensei.
    pub(crate) struct Stackful {
        /// Borrowed by `resume` alone, and so only by the root, one call at a time.
        coroutine: UnsafeCell<Coroutine<(), (), (), FiberStack>>,
        /// Set when the coroutine starts; points to the base of its stack.
        yielder: Cell<*const Yielder<(), ()>>,
    }

    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    impl Stackful {
        pub(crate) const COROUTINE_OFFSET: usize = std::mem::offset_of!(Stackful, coroutine);
        pub(crate) const YIELDER_OFFSET: usize = std::mem::offset_of!(Stackful, yielder);

        /// Finds out where a coroutine keeps the stack pointer that it was suspended with, by means of this stack: there is
        /// no name for that place.
        #[cold]
        fn measure(stack: FiberStack) -> FiberStack {
            use crate::trace::debugger;
            let mut probe: Coroutine<(), (), (), FiberStack> =
                Coroutine::with_stack(stack, |_: &Yielder<(), ()>, ()| ());
            let before = debugger::words_of(&probe);
            // SAFETY: it has not started, and its closure captures nothing, so there is nothing to drop.
            unsafe { probe.force_reset() };
            debugger::note_stack_pointer(&before, &debugger::words_of(&probe));
            probe.into_stack()
        }
    }

    impl Switch for Stackful {
        fn new(body: Body, worker: &'static Worker) -> Result<Self, StackError> {
            let stack = worker.stacks().take()?;
            #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
            let stack =
                if crate::trace::debugger::needs_stack_pointer() { Self::measure(stack) } else { stack };
            let coroutine = Coroutine::with_stack(stack, move |yielder: &Yielder<(), ()>, ()| {
                let worker = worker.now();
                worker.current_fiber().context().yielder.set(yielder);
                body(worker);
            });
            Ok(Self { coroutine: UnsafeCell::new(coroutine), yielder: Cell::new(ptr::null()) })
        }

        #[inline(always)]
        fn resume(&self) -> bool {
            // SAFETY: only the root resumes, and the fiber that runs meanwhile uses `yielder` alone,
            // so this is the only reference to the coroutine.
            let coroutine = unsafe { &mut *self.coroutine.get() };
            matches!(coroutine.resume(()), CoroutineResult::Return(()))
        }

        #[inline(always)]
        unsafe fn suspend(&self) {
            // SAFETY: the caller runs inside the coroutine, so it has started and set the yielder,
            // which lives on its stack until it ends.
            unsafe { &*self.yielder.get() }.suspend(());
        }

        fn dismantle(self, worker: &Worker) {
            let mut coroutine = self.coroutine.into_inner();
            if !coroutine.done() {
                // It was never started: there is nothing on its stack to unwind.
                debug_assert!(!coroutine.started());
                coroutine.force_unwind();
            }
            worker.stacks().give(coroutine.into_stack());
        }

        fn anchor(&self) -> usize {
            self.yielder.get().addr()
        }
    }
}

#[cfg(shuttle)]
pub(crate) use thread_backed::ThreadBacked;

#[cfg(shuttle)]
mod thread_backed {
    use super::{Body, Cell, StackError, Switch, Worker};
    use crate::primitives::{Condvar, Mutex, lock};
    use std::sync::Arc;

    #[derive(Clone, Copy, PartialEq)]
    enum Turn {
        Root,
        Fiber,
        Ended,
    }

    struct Baton {
        turn: Mutex<Turn>,
        changed: Condvar,
    }

    impl Baton {
        fn hand_over(&self, to: Turn) {
            *lock(&self.turn) = to;
            self.changed.notify_all();
        }

        fn wait_while(&self, held_by: Turn) -> Turn {
            let mut turn = lock(&self.turn);
            while *turn == held_by {
                turn = self.changed.wait(turn).unwrap_or_else(|e| e.into_inner());
            }
            *turn
        }
    }

    /// A fiber that is a thread; exactly one of it and the root runs at any time.
    pub(crate) struct ThreadBacked {
        baton: Arc<Baton>,
        thread: Cell<Option<shuttle::thread::JoinHandle<()>>>,
    }

    impl Switch for ThreadBacked {
        fn new(body: Body, worker: &'static Worker) -> Result<Self, StackError> {
            let baton = Arc::new(Baton { turn: Mutex::new(Turn::Root), changed: Condvar::new() });
            struct SendWorker(&'static Worker);
            // SAFETY: the thread stands in for a fiber of the worker's own thread: the baton lets
            // only one of the two run at a time, and orders what they do.
            unsafe impl Send for SendWorker {}
            let worker = SendWorker(worker);
            let theirs = Arc::clone(&baton);
            let thread = shuttle::thread::spawn(move || {
                let worker = worker;
                theirs.wait_while(Turn::Root);
                let is_worker = crate::sched::current::enter(worker.0);
                let runs_fibers = crate::sched::current::run_fibers(worker.0);
                body(worker.0);
                drop(runs_fibers);
                drop(is_worker);
                theirs.hand_over(Turn::Ended);
            });
            Ok(Self { baton, thread: Cell::new(Some(thread)) })
        }

        fn resume(&self) -> bool {
            self.baton.hand_over(Turn::Fiber);
            let ended = self.baton.wait_while(Turn::Fiber) == Turn::Ended;
            if ended {
                let thread = self.thread.take().expect("a fiber ends once");
                thread.join().expect("a fiber's thread catches every panic");
            }
            ended
        }

        unsafe fn suspend(&self) {
            self.baton.hand_over(Turn::Root);
            self.baton.wait_while(Turn::Root);
        }

        fn dismantle(self, _: &Worker) {}

        fn anchor(&self) -> usize {
            0
        }
    }
}

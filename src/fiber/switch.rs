//! Switching between a worker's root and its fibers, behind one small trait.
//!
//! [`Stackful`] is the real thing, on corosensei. [`ThreadBacked`] runs each fiber on a thread of
//! its own and passes a baton: it is for model checkers, which cannot follow a switch of stacks. Which
//! one [`Context`] names is decided at compile time.

#![expect(unsafe_code, reason = "corosensei's yielder is kept as a pointer between switches")]

#[cfg(not(shuttle))]
use super::stack::FiberStack;
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
    fn new(stack_bytes: usize, body: Body, worker: &'static Worker) -> Result<Self, StackError>;

    /// Runs the context until it suspends or ends; true if it ended. Called by the worker's root.
    fn resume(&self) -> bool;

    /// Returns to the root until the next [`resume`](Self::resume).
    ///
    /// # Safety
    ///
    /// The caller runs inside this very context.
    unsafe fn suspend(&self);
}

#[cfg(not(shuttle))]
pub(crate) use stackful::Stackful;

#[cfg(not(shuttle))]
mod stackful {
    use super::{Body, Cell, FiberStack, StackError, Switch, Worker};
    use corosensei::{Coroutine, CoroutineResult, Yielder};
    use std::cell::UnsafeCell;
    use std::ptr;

    /// A coroutine of corosensei.
    pub(crate) struct Stackful {
        /// Borrowed by `resume` alone, and so only by the root, one call at a time.
        coroutine: UnsafeCell<Option<Coroutine<(), (), (), FiberStack>>>,
        /// Set when the coroutine starts; points to the base of its stack.
        yielder: Cell<*const Yielder<(), ()>>,
    }

    impl Switch for Stackful {
        fn new(stack_bytes: usize, body: Body, worker: &'static Worker) -> Result<Self, StackError> {
            let stack = FiberStack::take(stack_bytes)?;
            let coroutine = Coroutine::with_stack(stack, move |yielder: &Yielder<(), ()>, ()| {
                let worker = worker.now();
                worker.current_fiber().context().yielder.set(yielder);
                body(worker);
            });
            Ok(Self { coroutine: UnsafeCell::new(Some(coroutine)), yielder: Cell::new(ptr::null()) })
        }

        #[inline(always)]
        fn resume(&self) -> bool {
            // SAFETY: only the root resumes, and the fiber that runs meanwhile uses `yielder` alone,
            // so this is the only reference to the coroutine.
            let slot = unsafe { &mut *self.coroutine.get() };
            let coroutine = slot.as_mut().expect("an ended fiber was resumed");
            match coroutine.resume(()) {
                CoroutineResult::Yield(()) => false,
                CoroutineResult::Return(()) => {
                    slot.take().expect("checked above").into_stack().give_back();
                    true
                }
            }
        }

        #[inline(always)]
        unsafe fn suspend(&self) {
            // SAFETY: the caller runs inside the coroutine, so it has started and set the yielder,
            // which lives on its stack until it ends.
            unsafe { &*self.yielder.get() }.suspend(());
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
        fn new(_stack_bytes: usize, body: Body, worker: &'static Worker) -> Result<Self, StackError> {
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
                crate::sched::current::enter(worker.0);
                body(worker.0);
                crate::sched::current::leave();
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
    }
}

//! A fiber: a stack plus a saved context, and the words by which others know it.
//!
//! In a system with sticky fibers, which is the default, a fiber belongs to one worker from its creation to its end.
//! It lives in a slot that is never given back, so that a late waker meets a generation that it does not know, never a
//! stranger's memory. Where it is says its [state](publish); which of several wakers may wake it is decided by the
//! [claim word](claim).

#![cfg_attr(not(loom), expect(unsafe_code, reason = "shares a slot between its owner and wakers"))]

pub(crate) mod claim;
#[cfg(not(loom))]
pub(crate) mod float;
pub(crate) mod publish;
#[cfg(not(loom))]
pub(crate) mod stack;
#[cfg(not(loom))]
pub(crate) mod switch;

#[cfg(not(loom))]
pub(crate) use publish::FiberState;
#[cfg(not(loom))]
pub(crate) use slot::{Fiber, RunningJob, WAIT_KINDS_MAX, WaitKind};

#[cfg(not(loom))]
mod slot {
    use super::claim::Claim;
    use super::publish::{FiberState, State};
    use super::stack::StackError;
    use super::switch::{Body, Context, Switch};
    use crate::fiber_local::JobLocals;
    #[cfg(feature = "tracing")]
    use crate::interop::spans::LeftSpans;
    use crate::memory::node::{Kind, Node};
    use crate::memory::prefetch::prefetch;
    use crate::memory::slots::{Cache, Caches, Depot, Slot};
    use crate::sched::priority::Priority;
    use crate::sched::worker::{Remote, Worker};
    use crate::trace::site::SiteRef;
    use crate::trace::{event, hooks};
    use std::cell::UnsafeCell;
    use std::mem::MaybeUninit;
    #[cfg(all(target_os = "linux", target_arch = "x86_64", not(shuttle)))]
    use std::mem::offset_of;
    use std::panic::Location;
    use std::ptr;
    // For people to read: never part of a protocol, and so not of what model checkers explore.
    use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicUsize, Ordering};

    static FIBERS: Depot = Depot::new();

    /// Ages are kept in about milliseconds, so that a fiber's descriptor fits into two cache lines; they
    /// wrap after 52 days.
    const TICK_NS: u64 = 1 << 20;

    #[cfg(all(target_os = "linux", not(shuttle), not(feature = "sanitizer")))]
    const _: () = assert!(size_of::<Fiber>() == 128);

    const LINE_BYTES: usize = 64;
    const PREFETCHED_LINES: usize = 8;

    /// See `Fiber::bound`.
    const STICKY: u8 = u8::MAX;

    /// PERF: a power of two that is not less than the number of kinds of waits, so that tables of them are indexed without a check (`ramie-bench instructions`, path `yield`).
    pub(crate) const WAIT_KINDS_MAX: usize = 32;
    const _: () = assert!(WaitKind::ALL.len() <= WAIT_KINDS_MAX && WAIT_KINDS_MAX.is_power_of_two());

    /// What a fiber waits for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(u8)]
    pub(crate) enum WaitKind {
        Nothing = 0,
        Counter = 1,
        CounterTarget = 2,
        Scope = 3,
        Join = 4,
        Handle = 5,
        Batch = 6,
        Yield = 7,
        /// It let more urgent work go first.
        GaveWay = 8,
        Mutex = 9,
        Read = 10,
        Write = 11,
        Condvar = 12,
        Semaphore = 13,
        Barrier = 14,
        Event = 15,
        Once = 16,
        Future = 17,
        Sleep = 18,
        Blocking = 19,
        Send = 20,
        Receive = 21,
        Cancellation = 22,
        Latch = 23,
    }

    impl WaitKind {
        /// What is waited for, in words; `#` stands for the number of the counter or job.
        pub(crate) const fn description(self) -> &'static str {
            match self {
                WaitKind::Nothing => "nothing",
                WaitKind::Counter => "counter # to reach zero",
                WaitKind::CounterTarget => "counter # to reach its target, or a time limit",
                WaitKind::Scope => "the jobs of its scope",
                WaitKind::Join => "the stolen half of a join or loop",
                WaitKind::Handle => "the result of job #",
                WaitKind::Batch => "the jobs of its batch",
                WaitKind::Yield => "its next turn (it yielded)",
                WaitKind::GaveWay => "more urgent work to go first",
                WaitKind::Mutex => "a mutex",
                WaitKind::Read => "a reader-writer lock, to read",
                WaitKind::Write => "a reader-writer lock, to write",
                WaitKind::Condvar => "a condition variable",
                WaitKind::Semaphore => "a permit of a semaphore",
                WaitKind::Barrier => "the others at a barrier",
                WaitKind::Event => "an event",
                WaitKind::Latch => "a latch to open",
                WaitKind::Once => "something that another job does once",
                WaitKind::Future => "a future to be woken",
                WaitKind::Sleep => "its time to come (it sleeps)",
                WaitKind::Blocking => "a blocking call on a helper thread",
                WaitKind::Send => "room in a channel",
                WaitKind::Receive => "a message of a channel",
                WaitKind::Cancellation => "a cancellation",
            }
        }

        /// Whether somebody must give up what is waited for.
        pub(crate) fn is_for_exclusion(self) -> bool {
            matches!(self, WaitKind::Mutex | WaitKind::Read | WaitKind::Write | WaitKind::Semaphore)
        }

        pub(crate) const ALL: [WaitKind; 24] = [
            WaitKind::Nothing,
            WaitKind::Counter,
            WaitKind::CounterTarget,
            WaitKind::Scope,
            WaitKind::Join,
            WaitKind::Handle,
            WaitKind::Batch,
            WaitKind::Yield,
            WaitKind::GaveWay,
            WaitKind::Mutex,
            WaitKind::Read,
            WaitKind::Write,
            WaitKind::Condvar,
            WaitKind::Semaphore,
            WaitKind::Barrier,
            WaitKind::Event,
            WaitKind::Once,
            WaitKind::Future,
            WaitKind::Sleep,
            WaitKind::Blocking,
            WaitKind::Send,
            WaitKind::Receive,
            WaitKind::Cancellation,
            WaitKind::Latch,
        ];
    }

    /// See the [module](super).
    #[repr(C, align(128))]
    pub(crate) struct Fiber {
        node: Node,
        /// Which of several sources wakes this fiber.
        pub(crate) claim: Claim,
        /// The worker that it belongs to, or, if it migrates, that has resumed it last. Written by that worker, read
        /// by wakers.
        owner: AtomicPtr<Remote>,
        /// The owner's alone; initialised from `start` to `retire`.
        context: UnsafeCell<MaybeUninit<Context>>,
        // What follows is written by the fiber's worker and read by dumps.
        pub(crate) state: State,
        wait_kind: AtomicU8,
        /// The priority of its job; wakers read it too, while the fiber waits.
        priority: AtomicU8,
        /// Whether the fiber resumes on its owner only: 1 while a pinned job or a callback runs on it; [`STICKY`] if the
        /// system's fibers are.
        bound: AtomicU8,
        /// When it suspended, in ticks of [`TICK_NS`] of the process's clock, to within a few turns.
        since: AtomicU32,
        /// The id of the counter or job that is waited for; 0 for anything else.
        wait_object: AtomicU32,
        wait_site: AtomicPtr<Location<'static>>,
        /// Where the job that runs innermost was spawned, and its name; or its locals, which know that.
        site: AtomicPtr<()>,
        /// An address in the large stack that the fiber's innermost such job runs on; 0 if there is none. Written by the
        /// fiber, read by a fault on its thread.
        large_stack: AtomicUsize,
    }

    /// Where debuggers find what they show of a fiber; see `trace/debugger.rs`.
    #[cfg(all(target_os = "linux", target_arch = "x86_64", not(shuttle)))]
    pub(crate) struct FiberLayout {
        pub(crate) owner: usize,
        pub(crate) context: usize,
        pub(crate) state: usize,
        pub(crate) wait_kind: usize,
        pub(crate) priority: usize,
        pub(crate) since: usize,
        pub(crate) wait_object: usize,
        pub(crate) wait_site: usize,
        pub(crate) site: usize,
        /// Nanoseconds of a unit of `since`.
        pub(crate) tick_ns: usize,
    }

    /// A job that runs, innermost on its fiber.
    pub(crate) struct RunningJob {
        /// The worker as whose it has begun.
        pub(crate) worker: &'static Worker,
        fiber: &'static Fiber,
        /// The word of the job that goes on when this one has ended, or null.
        outer: *mut (),
        /// What that one has entered. An inlined job begins without.
        #[cfg(feature = "tracing")]
        spans: LeftSpans,
    }

    impl RunningJob {
        /// A job begins on the worker's fiber. `block`: where it was when it was queued, if it was; `group`: what it is a member of, if it is.
        ///
        /// PERF: the call that is rarely made gives back what it was given, so that nothing need be kept across it (`ramie-bench instructions`, paths `spawn` and `detach`).
        #[inline(always)]
        pub(crate) fn begin(
            worker: &'static Worker,
            site: SiteRef,
            block: usize,
            group: impl FnOnce() -> usize,
        ) -> Self {
            let fiber = worker.current_fiber();
            let outer = fiber.job_word();
            fiber.set_job_word(site.into_raw());
            let (worker, fiber, outer) = if worker.hooks() & hooks::AT_START == 0 {
                (worker, fiber, outer)
            } else {
                let (worker, outer) = event::job_started(worker, site, block, group(), outer);
                (worker, worker.current_fiber(), outer)
            };
            Self {
                worker,
                fiber,
                outer,
                #[cfg(feature = "tracing")]
                spans: LeftSpans::leave(),
            }
        }

        /// It has ended; its locals are dropped.
        #[inline(always)]
        pub(crate) fn end(self, has_panicked: bool) {
            match JobLocals::from_word(self.fiber.job_word()) {
                None => self.fiber.set_job_word(self.outer),
                Some(locals) => locals.end(self.fiber, has_panicked, self.outer),
            }
            #[cfg(feature = "tracing")]
            {
                // A job that has forgotten guards leaves nothing behind.
                drop(LeftSpans::leave());
                self.spans.enter_again();
            }
        }
    }

    // SAFETY: `context` is used by the owner's thread only (the accessors say so); all else is atomic.
    unsafe impl Sync for Fiber {}

    // SAFETY: 1. `repr(C)` with the node first. 2. Fibers are not moved or freed, only their contents
    // change. 3. `FIBERS` serves this type alone.
    unsafe impl Slot for Fiber {
        fn vacant(id: u32) -> Self {
            Self {
                node: Node::new(Kind::Fiber, id),
                claim: Claim::new(),
                owner: AtomicPtr::new(ptr::null_mut()),
                context: UnsafeCell::new(MaybeUninit::uninit()),
                state: State::new(),
                wait_kind: AtomicU8::new(0),
                priority: AtomicU8::new(Priority::Normal as u8),
                bound: AtomicU8::new(0),
                since: AtomicU32::new(0),
                wait_object: AtomicU32::new(0),
                wait_site: AtomicPtr::new(ptr::null_mut()),
                site: AtomicPtr::new(ptr::null_mut()),
                large_stack: AtomicUsize::new(0),
            }
        }

        fn depot() -> &'static Depot {
            &FIBERS
        }

        fn cache(caches: &Caches) -> &Cache {
            &caches.fibers
        }
    }

    impl Fiber {
        #[cfg(all(target_os = "linux", target_arch = "x86_64", not(shuttle)))]
        pub(crate) const LAYOUT: FiberLayout = FiberLayout {
            owner: offset_of!(Fiber, owner),
            context: offset_of!(Fiber, context),
            state: offset_of!(Fiber, state),
            wait_kind: offset_of!(Fiber, wait_kind),
            priority: offset_of!(Fiber, priority),
            since: offset_of!(Fiber, since),
            wait_object: offset_of!(Fiber, wait_object),
            wait_site: offset_of!(Fiber, wait_site),
            site: offset_of!(Fiber, site),
            tick_ns: TICK_NS as usize,
        };

        /// By which debuggers know the chunks of fibers.
        #[cfg(all(target_os = "linux", target_arch = "x86_64", not(shuttle)))]
        pub(crate) const fn depot_address() -> *const () {
            (&raw const FIBERS).cast()
        }

        /// Makes a fiber of `worker` that will run `body`.
        pub(crate) fn start(worker: &'static Worker, body: Body) -> Result<&'static Self, StackError> {
            let context = Context::new(body, worker)?;
            let fiber = worker.caches().fibers.alloc::<Fiber>();
            fiber.set_owner(worker);
            fiber.bound.store(if worker.migrates() { 0 } else { STICKY }, Ordering::Relaxed);
            // SAFETY: the slot was free, so this thread is its only user.
            unsafe { (*fiber.context.get()).write(context) };
            fiber.set_state(FiberState::Idle);
            fiber.set_priority(Priority::Normal);
            Ok(fiber)
        }

        /// Frees the slot of a fiber whose context has ended. Called by the owner.
        pub(crate) fn retire(&'static self, worker: &Worker) {
            self.set_state(FiberState::Vacant);
            // SAFETY: the context has ended, the owner is the only one to use it, and nobody does after this.
            let context = unsafe { (*self.context.get()).assume_init_read() };
            context.dismantle(worker);
            // SAFETY: 1. `start` allocated it. 2. The fiber has ended, so it is in no list; late
            // wakers hold tickets of older generations.
            unsafe { worker.caches().fibers.free(self) };
        }

        /// The context; to be called on the owner's thread only.
        #[inline]
        pub(crate) fn context(&self) -> &Context {
            // SAFETY: only the owner's thread calls this; the context is there from `start` to `retire`.
            unsafe { (*self.context.get()).assume_init_ref() }
        }

        #[inline]
        pub(crate) fn node(&self) -> &Node {
            &self.node
        }

        /// This fiber will be resumed next: has what that needs fetched, and the descriptor of the one after it. Called by the
        /// owner.
        #[inline]
        pub(crate) fn prefetch(&self) {
            let after = self.node.link().addr();
            prefetch(after);
            prefetch(after + LINE_BYTES);
            // Where the stack frames of a fiber lie that waits in a job.
            let anchor = self.context().anchor();
            for line in 0..PREFETCHED_LINES {
                prefetch(anchor.wrapping_sub(line * LINE_BYTES));
            }
        }

        /// The node's address, reaching over the whole fiber.
        #[inline]
        pub(crate) fn node_ptr(&self) -> *mut Node {
            ptr::from_ref(self).cast::<Node>().cast_mut()
        }

        /// The fiber that this node is the head of.
        ///
        /// # Safety
        ///
        /// `node` is the first field of a fiber in its slot.
        #[inline]
        pub(crate) unsafe fn from_node(node: *mut Node) -> &'static Self {
            // SAFETY: promised by the caller; slots live for ever.
            unsafe { &*node.cast::<Fiber>() }
        }

        #[inline]
        pub(crate) fn owner(&self) -> &'static Remote {
            // SAFETY: set by `start` to a worker that lives for ever.
            unsafe { &*self.owner.load(Ordering::Relaxed) }
        }

        /// Whether it belongs to this worker of this system; for people to read.
        #[cfg(not(shuttle))]
        pub(crate) fn owner_is(&self, system: u32, worker: usize) -> bool {
            let owner = self.owner();
            owner.system.load(Ordering::Relaxed) == system
                && owner.index.load(Ordering::Relaxed) as usize == worker
        }

        /// The worker has taken over the fiber.
        pub(crate) fn set_owner(&self, worker: &Worker) {
            self.owner.store(ptr::from_ref(worker.remote()).cast_mut(), Ordering::Relaxed);
        }

        /// Whether the fiber never migrates, whatever runs on it.
        #[inline]
        pub(crate) fn is_sticky(&self) -> bool {
            self.bound.load(Ordering::Relaxed) == STICKY
        }

        /// Whether only its owner may resume the fiber.
        #[inline]
        pub(crate) fn is_bound(&self) -> bool {
            self.bound.load(Ordering::Relaxed) != 0
        }

        /// Called while the fiber runs, if it is not sticky.
        pub(crate) fn set_bound(&self, bound: bool) {
            self.bound.store(u8::from(bound), Ordering::Relaxed);
        }

        #[inline]
        pub(crate) fn set_state(&self, state: FiberState) {
            self.state.set(state);
        }

        #[inline]
        pub(crate) fn priority(&self) -> Priority {
            Priority::from_bits(u32::from(self.priority.load(Ordering::Relaxed)))
        }

        #[inline]
        pub(crate) fn has_priority(&self, priority: Priority) -> bool {
            self.priority.load(Ordering::Relaxed) == priority as u8
        }

        /// Called by the owner while the fiber runs or is idle.
        pub(crate) fn set_priority(&self, priority: Priority) {
            self.priority.store(priority as u8, Ordering::Relaxed);
        }

        /// The place of the job that runs innermost, or its locals; see `fiber_local.rs`.
        #[inline]
        pub(crate) fn job_word(&self) -> *mut () {
            self.site.load(Ordering::Relaxed)
        }

        /// Called by the fiber itself.
        #[inline]
        pub(crate) fn set_job_word(&self, word: *mut ()) {
            // ORDERING: Release publishes locals to dumps.
            self.site.store(word, Ordering::Release);
        }

        pub(crate) fn site(&self) -> SiteRef {
            // ORDERING: Acquire pairs with the Release in `set_job_word`.
            let word = self.site.load(Ordering::Acquire);
            let word = JobLocals::from_word(word).map_or(word, JobLocals::site_word);
            // SAFETY: null at first, then what `RunningJob::begin` was given.
            unsafe { SiteRef::from_raw(word) }
        }

        /// Notes an address in the large stack that the fiber is about to use, or 0; gives the one before.
        #[cfg(not(shuttle))]
        pub(crate) fn swap_large_stack(&self, address: usize) -> usize {
            let before = self.large_stack.load(Ordering::Relaxed);
            self.large_stack.store(address, Ordering::Relaxed);
            before
        }

        /// An address in the stack that the fiber runs on now.
        #[cfg(not(shuttle))]
        pub(crate) fn stack_in_use(&self) -> usize {
            match self.large_stack.load(Ordering::Relaxed) {
                0 => self.context().anchor(),
                address => address,
            }
        }

        /// Notes what the fiber is about to wait for.
        #[inline]
        pub(crate) fn set_wait(
            &self,
            kind: WaitKind,
            object: u32,
            site: &'static Location<'static>,
            now_ns: u64,
        ) {
            self.wait_kind.store(kind as u8, Ordering::Relaxed);
            self.wait_object.store(object, Ordering::Relaxed);
            self.wait_site.store(ptr::from_ref(site).cast_mut(), Ordering::Relaxed);
            self.since.store((now_ns / TICK_NS) as u32, Ordering::Relaxed);
            self.set_state(FiberState::Suspending);
        }

        /// The kind of what it waits for, as a number below [`WAIT_KINDS_MAX`].
        #[inline(always)]
        pub(crate) fn wait_kind(&self) -> usize {
            usize::from(self.wait_kind.load(Ordering::Relaxed)) % WAIT_KINDS_MAX
        }

        /// What the fiber waits for, at which place, and since when (nanoseconds).
        pub(crate) fn wait(&self) -> (WaitKind, u32, Option<&'static Location<'static>>, u64) {
            let kind =
                WaitKind::ALL[usize::from(self.wait_kind.load(Ordering::Relaxed)) % WaitKind::ALL.len()];
            // SAFETY: null or a location that the compiler made.
            let site = unsafe { self.wait_site.load(Ordering::Relaxed).as_ref() };
            (
                kind,
                self.wait_object.load(Ordering::Relaxed),
                site,
                u64::from(self.since.load(Ordering::Relaxed)) * TICK_NS,
            )
        }
    }
}

//! Continuations: jobs that come after counters.
//!
//! Such a job has a [`Link`] in the list of each of its counters and costs no stack. The last of them to be
//! fired releases it, and it becomes an ordinary job. A job that was cancelled or abandoned meanwhile
//! stays as a shell until its last link is gone.

#![expect(unsafe_code, reason = "links live in recycled slots")]

use super::cell::CounterCell;
use super::public::Counter;
use crate::job::state::Outcome;
use crate::job::{JobPtr, header};
use crate::memory::node::{Kind, Node};
use crate::memory::slots::{self, Cache, Caches, Depot, Slot};
use crate::sched::current;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

static LINKS: Depot = Depot::new();

/// See the [module](self).
#[repr(C, align(32))]
pub(crate) struct Link {
    node: Node,
    /// In a counter's list: the job's node, written before the link is published there. In a [`CounterList`]: the
    /// counter's, for which that list holds a reference.
    ///
    /// [`CounterList`]: super::CounterList
    object: AtomicPtr<Node>,
}

// SAFETY: 1. `repr(C)` with the node first. 2. Slots are not moved or freed. 3. `LINKS` serves this
// type alone.
unsafe impl Slot for Link {
    fn vacant(id: u32) -> Self {
        Self { node: Node::new(Kind::Link, id), object: AtomicPtr::new(ptr::null_mut()) }
    }

    fn depot() -> &'static Depot {
        &LINKS
    }

    fn cache(caches: &Caches) -> &Cache {
        &caches.links
    }
}

impl Link {
    /// Links `job` to each of `counters` that is not zero, and releases it if none is left.
    ///
    /// # Safety
    ///
    /// `job` was just created, held, with extras whose `remaining` is 1.
    pub(crate) unsafe fn hold(job: JobPtr, counters: impl Iterator<Item = &'static CounterCell>) {
        let extras = job.extras().expect("held jobs have extras");
        for counter in counters {
            // ORDERING: Relaxed: the link below publishes it; zero cannot be reached before the end.
            extras.remaining.fetch_add(1, Ordering::Relaxed);
            let link = current::with_caches(|caches| caches.links.alloc::<Link>());
            link.object.store(job.node_ptr(), Ordering::Relaxed);
            if !counter.word().link(&link.node, slots::node) {
                // SAFETY: allocated above and in no list.
                current::with_caches(|caches| unsafe { caches.links.free(link) });
                extras.remaining.fetch_sub(1, Ordering::Relaxed);
            }
        }
        // SAFETY: the submission's own share.
        unsafe { Self::one_less(job) };
    }

    /// A link that holds `counter`, and is followed by `before`. It is in no counter's list.
    pub(super) fn keep(counter: Counter, before: Option<&'static Link>) -> &'static Link {
        let link = current::with_caches(|caches| caches.links.alloc::<Link>());
        link.object.store(counter.into_cell().node_ptr(), Ordering::Relaxed);
        link.node.set_link(
            before.map_or(ptr::null_mut(), |before| ptr::from_ref(before).cast::<Node>().cast_mut()),
        );
        link
    }

    /// The counter that [`keep`](Self::keep) was called with.
    pub(super) fn kept(&self) -> &'static CounterCell {
        // SAFETY: set by `keep` to a cell's node, which is its first field; slots live for ever.
        unsafe { &*self.object.load(Ordering::Relaxed).cast::<CounterCell>() }
    }

    /// The link that [`keep`](Self::keep) was told to follow this one.
    pub(super) fn kept_before(&self) -> Option<&'static Link> {
        // SAFETY: null, or set by `keep` to a link's node, which is its first field; slots live for ever.
        unsafe { self.node.link().cast::<Link>().as_ref() }
    }

    /// Frees the link and gives the counter that it held.
    ///
    /// # Safety
    ///
    /// It was made by [`keep`](Self::keep), and is not used again.
    pub(super) unsafe fn give_up(&'static self) -> Counter {
        let cell = self.kept();
        // SAFETY: the link's reference came from `into_cell`, and the link is given up only once. Its slot: 1. allocated in
        // `keep`, 2. in no list of a counter, and promised by the caller.
        unsafe {
            current::with_caches(|caches| caches.links.free(self));
            Counter::from_cell(cell)
        }
    }

    /// A counter has reached zero: called with a link out of its list.
    ///
    /// # Safety
    ///
    /// `node` is a link's, and the caller took it out of the list.
    pub(crate) unsafe fn fire(node: *mut Node) {
        // SAFETY: promised by the caller; slots live for ever.
        unsafe {
            let job = Self::take_job(node);
            Self::one_less(job);
        }
    }

    /// Frees the link and gives its job.
    unsafe fn take_job(node: *mut Node) -> JobPtr {
        // SAFETY: promised by the callers: a link that belongs to this thread.
        unsafe {
            let link = &*node.cast::<Link>();
            let job = JobPtr::from_node(link.object.load(Ordering::Relaxed));
            current::with_caches(|caches| caches.links.free(link));
            job
        }
    }

    /// One thing less that the job comes after.
    unsafe fn one_less(job: JobPtr) {
        let extras = job.extras().expect("held jobs have extras");
        // ORDERING: AcqRel: the last one sees what all others did before they signalled.
        if extras.remaining.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        let core = extras.core.take();
        if job.header().state.release_held() {
            let core = core.expect("a held job keeps its system");
            // SAFETY: releasing made this thread the owner of the job's queue entry.
            unsafe { header::enqueue(job, &core) };
        } else if job.header().state.drop_held() {
            // SAFETY: the job was claimed elsewhere and has ended, and its handle is gone.
            current::with_caches(|caches| unsafe { crate::job::storage::free(caches, job) });
        }
    }

    /// The counter is gone: its links will never be fired, and their jobs never run.
    pub(crate) fn abandon_list(head: u32) {
        let mut node = slots::node(head);
        // SAFETY: the list was taken by this thread; nodes live in slots.
        while let Some(current) = unsafe { node.as_ref() } {
            let next = current.link();
            debug_assert_eq!(current.kind(), Kind::Link, "a waiter holds a reference to its counter");
            // SAFETY: links are all that can be left, see above.
            unsafe {
                let job = Self::take_job(node);
                let system = job.header().system();
                if job.header().state.claim().is_some() {
                    // Before the captures are dropped, as in `RawHandle::cancel`.
                    crate::system::count_finished_elsewhere(system);
                    header::discard(job, Outcome::Abandoned);
                }
                Self::one_less(job);
            }
            node = next;
        }
    }
}

/// Counters that a job comes after: one, or a slice, array or vector of them.
pub trait AfterCounters: sealed::Sealed {
    /// Calls `f` with each.
    #[doc(hidden)]
    fn each(&self, f: &mut dyn FnMut(&Counter));
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! after_counters {
    ($([$($generics:tt)*] $type:ty, $this:ident => $iter:expr;)*) => {$(
        impl<$($generics)*> sealed::Sealed for $type {}
        impl<$($generics)*> AfterCounters for $type {
            fn each(&self, f: &mut dyn FnMut(&Counter)) {
                let $this = self;
                for counter in $iter {
                    f(counter);
                }
            }
        }
    )*};
}

after_counters! {
    [] Counter, this => [this];
    [] [Counter], this => this;
    [] [&Counter], this => this.iter().copied();
    [const N: usize] [Counter; N], this => this;
    [const N: usize] [&Counter; N], this => this.iter().copied();
    [] Vec<Counter>, this => this;
    [] Vec<&Counter>, this => this.iter().copied();
}

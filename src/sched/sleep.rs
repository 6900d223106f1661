//! Who searches, who sleeps, and who must be woken; and whether something urgent is queued. The protocol and the
//! argument that no wake is lost are in `sched/README.md`; loom holds it in `sleep/model.rs`.

use super::priority::Priority;
use crate::primitives::{AtomicU32, AtomicU64, Ordering, fence, heavy_fence};
use crossbeam_utils::CachePadded;

/// What pushers and splits must attend to, in one word, so that they look at one word alone.
///
/// ```text
///   63                 32 31         18   17       16    15            0
///   +--------------------+-------------+--------+------+---------------+
///   | urgent deliveries  |             | fences | High | sleeping count|
///   +--------------------+-------------+--------+------+---------------+
/// ```
///
/// - *sleeping count*: at least the number of bits set in `sleeping`: raised before a bit is set, lowered after it
///   was cleared.
/// - *High*: unpinned High work may be queued. Set by pushers; cleared by a worker that has found none, who then looks
///   once more, so it is never clear for good while there is some.
/// - *fences*: pushers need a full fence, because `membarrier(2)` is not to be had. Never changes.
/// - *urgent deliveries*: High fibers and pinned High jobs in inboxes whose owners have not taken them in yet, and
///   raised pinned jobs whose workers have not looked at them yet.
pub(crate) struct Attention(AtomicU64);

const SLEEPER: u64 = 1;
const SLEEPING_MASK: u64 = 0xffff;
const HIGH_QUEUED: u64 = 1 << 16;
const FULL_FENCES: u64 = 1 << 17;
const DELIVERY: u64 = 1 << 32;
const URGENT_MASK: u64 = !0 << 32 | HIGH_QUEUED;

/// For those who must look closely whatever the system's word says.
#[cfg(not(loom))]
pub(crate) static ALWAYS: Attention = Attention(AtomicU64::new(HIGH_QUEUED));

impl Attention {
    fn new(asymmetric: bool) -> Self {
        Self(AtomicU64::new(if asymmetric { 0 } else { FULL_FENCES }))
    }

    /// Whether a pusher has nothing to attend to.
    #[inline]
    pub(crate) fn is_quiet(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    /// Whether there may be something urgent: queued for all, or delivered to somebody.
    #[inline]
    pub(crate) fn is_urgent(&self) -> bool {
        self.0.load(Ordering::Relaxed) & URGENT_MASK != 0
    }

    /// Whether unpinned High work may be queued.
    pub(crate) fn high_is_queued(&self) -> bool {
        self.0.load(Ordering::Relaxed) & HIGH_QUEUED != 0
    }

    /// Says that High work is queued. The caller has made it visible, and executed a full fence since.
    pub(crate) fn note_high(&self) {
        // ORDERING: pairs with the fence in `forget_high`: either the load sees that the hint is clear, or that
        // worker's look at the queues sees the work.
        if !self.high_is_queued() {
            self.0.fetch_or(HIGH_QUEUED, Ordering::SeqCst);
        }
    }

    /// Says that no High work is queued. The caller must look at the queues after this, and
    /// [note](Self::note_high) what it finds.
    pub(crate) fn forget_high(&self) {
        self.0.fetch_and(!HIGH_QUEUED, Ordering::SeqCst);
        // ORDERING: pairs with the pusher's full fence, see `note_high`.
        fence(Ordering::SeqCst);
    }

    /// So many urgent nodes are about to be put into an inbox.
    #[cfg(not(loom))]
    pub(crate) fn add_deliveries(&self, count: u64) {
        self.0.fetch_add(count * DELIVERY, Ordering::Relaxed);
    }

    /// Their owner has taken them in.
    #[cfg(not(loom))]
    pub(crate) fn took_deliveries(&self, count: u64) {
        self.0.fetch_sub(count * DELIVERY, Ordering::Relaxed);
    }

    /// How many sleep, or are about to.
    #[inline]
    pub(crate) fn sleeping_count(&self) -> usize {
        (self.0.load(Ordering::Relaxed) & SLEEPING_MASK) as usize
    }
}

/// Written only when a worker starts or ends a search, or sleeps.
struct Words {
    /// How many workers search, woken ones that have not begun yet included.
    searching_count: AtomicU32,
    /// A bit per worker that sleeps, or is about to. The worker sets its own; whoever clears a bit
    /// (by fetch_and) decides that this worker wakes.
    sleeping: Box<[AtomicU64]>,
    /// A bit per worker that holds Low work back while it sleeps: no use to wake it for that. Its own alone to write.
    guarded: Box<[AtomicU64]>,
}

/// See the [module](self).
pub(crate) struct Sleep {
    /// Read at every push and every split.
    attention: CachePadded<Attention>,
    words: CachePadded<Words>,
    /// How many workers may search at once.
    searching_max: u32,
    asymmetric: bool,
}

/// What a worker is after it has stopped sleeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// Somebody cleared its bit and counted it among those who search.
    ToSearch,
    /// It woke for a reason of its own (inbox, time, shutdown).
    ByItself,
}

impl Sleep {
    pub(crate) fn new(worker_count: usize, searching_max: usize, asymmetric: bool) -> Self {
        assert!(worker_count <= SLEEPING_MASK as usize);
        let bits = || (0..worker_count.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Self {
            attention: CachePadded::new(Attention::new(asymmetric)),
            words: CachePadded::new(Words {
                searching_count: AtomicU32::new(0),
                sleeping: bits(),
                guarded: bits(),
            }),
            searching_max: searching_max.max(1) as u32,
            asymmetric,
        }
    }

    /// What pushers and splits attend to.
    #[inline]
    pub(crate) fn attention(&self) -> &Attention {
        &self.attention
    }

    /// To be called after work of this priority was made visible, unless `attention` was
    /// [quiet](Attention::is_quiet) then; names a worker that the caller must unpark.
    ///
    /// Nobody is woken while somebody searches: the searcher finds the work, or looks again after
    /// it has said that it no longer searches.
    ///
    /// ORDERING: between the push and the look at `attention` there is a light fence. It pairs with `heavy_fence` in
    /// `announce`: either the sleeper's last look sees the work, or the pusher sees the count.
    #[cold]
    #[inline(never)]
    #[must_use = "the worker must be unparked"]
    pub(crate) fn work_was_added(&self, priority: Priority) -> Option<usize> {
        // ORDERING: pairs with the fence in `end_search`: either the last searcher's look at the queues
        // after that sees the work, or the load below sees that nobody searches. And with the one in
        // `Attention::forget_high`.
        fence(Ordering::SeqCst);
        if priority == Priority::High {
            self.attention.note_high();
        }
        if !self.anyone_sleeps() || self.anyone_searches() {
            return None;
        }
        self.claim_sleeper(priority)
    }

    /// Whether somebody has nothing to do: the sign for lazy splitters to split.
    #[inline]
    pub(crate) fn anyone_searches(&self) -> bool {
        self.words.searching_count.load(Ordering::Relaxed) != 0
    }

    #[inline]
    pub(crate) fn anyone_sleeps(&self) -> bool {
        self.sleeping_count() != 0
    }

    /// How many sleep, or are about to.
    pub(crate) fn sleeping_count(&self) -> usize {
        self.attention.sleeping_count()
    }

    /// Chooses a sleeper for work of this priority and counts it among those who search; nobody if somebody
    /// does already.
    #[cold]
    #[must_use = "the worker must be unparked"]
    pub(crate) fn claim_sleeper(&self, priority: Priority) -> Option<usize> {
        if priority == Priority::Low && self.nobody_for(priority) {
            // All are guarded. The count must not be raised for that: pushers of more urgent work would rely on it.
            return None;
        }
        let mut priority = priority;
        loop {
            // ORDERING: SeqCst on all read-modify-writes of the two words: README's argument is
            // made in their single order.
            let first =
                self.words.searching_count.compare_exchange(0, 1, Ordering::SeqCst, Ordering::Relaxed);
            if first.is_err() {
                return None;
            }
            if let Some(worker) = self.take_bit(priority) {
                return Some(worker);
            }
            // All woke up meanwhile. Whoever saw the count that was raised above relies on it, so
            // this thread must look again after lowering it.
            if self.words.searching_count.fetch_sub(1, Ordering::SeqCst) != 1 {
                return None;
            }
            fence(Ordering::SeqCst);
            // And look for anybody: those who relied on it may have had more urgent work. Bits and not the count: whoever has
            // raised that and not set its bit yet will look by itself.
            priority = Priority::High;
            if self.nobody_for(priority) {
                return None;
            }
        }
    }

    /// Chooses a sleeper where nobody searches: each piece of work wakes somebody. Rather one that is `preferred`. Called after work was
    /// made visible. Nobody is counted as searching.
    ///
    /// ORDERING: the fence pairs with the one in `announce`: either the sleeper's last look sees the work, or this thread the bit.
    #[cold]
    #[must_use = "the worker must be unparked"]
    pub(crate) fn claim_any(&self, preferred: impl Fn(usize) -> bool) -> Option<usize> {
        fence(Ordering::SeqCst);
        if !self.anyone_sleeps() {
            return None;
        }
        for (index, word) in self.words.sleeping.iter().enumerate() {
            let mut bits = word.load(Ordering::SeqCst);
            while bits != 0 {
                let bit = bits.trailing_zeros();
                bits &= bits - 1;
                if preferred(index * 64 + bit as usize) && self.take_one_bit(index, bit) {
                    return Some(index * 64 + bit as usize);
                }
            }
        }
        self.take_bit(Priority::High)
    }

    /// Whether this thread has cleared the bit of a sleeper.
    fn take_one_bit(&self, index: usize, bit: u32) -> bool {
        let taken = self.words.sleeping[index].fetch_and(!(1 << bit), Ordering::SeqCst) & 1 << bit != 0;
        if taken {
            self.attention.0.fetch_sub(SLEEPER, Ordering::SeqCst);
        }
        taken
    }

    fn nobody_for(&self, priority: Priority) -> bool {
        (0..self.words.sleeping.len()).all(|index| self.candidates(index, priority) == 0)
    }

    /// Those of one word's sleepers that could take work of this priority.
    fn candidates(&self, index: usize, priority: Priority) -> u64 {
        let sleeping = self.words.sleeping[index].load(Ordering::SeqCst);
        if priority == Priority::Low && sleeping != 0 {
            sleeping & !self.words.guarded[index].load(Ordering::SeqCst)
        } else {
            sleeping
        }
    }

    fn take_bit(&self, priority: Priority) -> Option<usize> {
        for (index, word) in self.words.sleeping.iter().enumerate() {
            let mut bits = self.candidates(index, priority);
            while bits != 0 {
                let bit = bits.trailing_zeros();
                let before = word.fetch_and(!(1 << bit), Ordering::SeqCst);
                if before & (1 << bit) != 0 {
                    self.attention.0.fetch_sub(SLEEPER, Ordering::SeqCst);
                    return Some(index * 64 + bit as usize);
                }
                bits &= before & !(1 << bit);
            }
        }
        None
    }

    /// A worker without work begins to search; false if enough others do.
    pub(crate) fn try_begin_search(&self) -> bool {
        let mut count = self.words.searching_count.load(Ordering::Relaxed);
        loop {
            if count >= self.searching_max {
                return false;
            }
            match self.words.searching_count.compare_exchange_weak(
                count,
                count + 1,
                Ordering::SeqCst,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => count = now,
            }
        }
    }

    /// Whether the caller, who searches, is the only one.
    pub(crate) fn is_last_searcher(&self) -> bool {
        self.words.searching_count.load(Ordering::Relaxed) == 1
    }

    /// A searcher found work. True if it was the last: it must then look at all queues and, if there is more,
    /// wake a [sleeper](Self::claim_sleeper), because pushers relied on it.
    #[must_use]
    pub(crate) fn end_search(&self) -> bool {
        let last = self.words.searching_count.fetch_sub(1, Ordering::SeqCst) == 1;
        // ORDERING: pairs with the fence in `work_was_added`.
        fence(Ordering::SeqCst);
        last && self.anyone_sleeps()
    }

    /// Says that `worker` is about to sleep, and that it no longer searches if it did; and whether it holds Low work
    /// back.
    ///
    /// After this the caller must look at all queues once more ([`wake_self`](Self::wake_self) if there is
    /// something) before it sleeps.
    pub(crate) fn announce(&self, worker: usize, searched: bool, guarded: bool) {
        if guarded {
            self.words.guarded[worker / 64].fetch_or(1 << (worker % 64), Ordering::SeqCst);
        }
        self.attention.0.fetch_add(SLEEPER, Ordering::SeqCst);
        self.words.sleeping[worker / 64].fetch_or(1 << (worker % 64), Ordering::SeqCst);
        if searched {
            self.words.searching_count.fetch_sub(1, Ordering::SeqCst);
        }
        // ORDERING: pairs with the light fence between a push and the look at `attention`.
        heavy_fence(self.asymmetric);
    }

    /// Takes the announcement back, or learns that somebody took it.
    pub(crate) fn wake_self(&self, worker: usize, guarded: bool) -> Woken {
        let bit = 1 << (worker % 64);
        let before = self.words.sleeping[worker / 64].fetch_and(!bit, Ordering::SeqCst);
        if guarded {
            self.words.guarded[worker / 64].fetch_and(!bit, Ordering::SeqCst);
        }
        if before & bit == 0 {
            return Woken::ToSearch;
        }
        self.attention.0.fetch_sub(SLEEPER, Ordering::SeqCst);
        Woken::ByItself
    }
}

#[cfg(all(test, loom))]
mod model;

//! Who searches, who sleeps, and who must be woken. The protocol and the argument that no wake is
//! lost are in `sched/README.md`; loom holds it in `sleep/model.rs`.

use crate::primitives::{AtomicU32, AtomicU64, Ordering, fence, heavy_fence, light_fence};
use crossbeam_utils::CachePadded;

/// The words that every pusher reads; written only when a worker starts or ends a search or sleeps.
struct Words {
    /// How many workers search, woken ones that have not begun yet included.
    searching_count: AtomicU32,
    /// At least the number of bits set in `sleeping`: raised before a bit is set, lowered after it was cleared.
    sleeping_count: AtomicU32,
    /// A bit per worker that sleeps, or is about to. The worker sets its own; whoever clears a bit
    /// (by fetch_and) decides that this worker wakes.
    sleeping: Box<[AtomicU64]>,
}

/// See the [module](self).
pub(crate) struct Sleep {
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
        Self {
            words: CachePadded::new(Words {
                searching_count: AtomicU32::new(0),
                sleeping_count: AtomicU32::new(0),
                sleeping: (0..worker_count.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
            }),
            searching_max: searching_max.max(1) as u32,
            asymmetric,
        }
    }

    /// To be called after work was made visible; names a worker that the caller must unpark.
    ///
    /// Nobody is woken while somebody searches: the searcher finds the work, or looks again after
    /// it has said that it no longer searches.
    #[inline]
    #[must_use = "the worker must be unparked"]
    pub(crate) fn work_was_added(&self) -> Option<usize> {
        // ORDERING: pairs with `heavy_fence` in `announce`: either the sleeper's last look sees the
        // work, or the load below sees its bit.
        light_fence(self.asymmetric);
        if self.anyone_sleeps() { self.wake_unless_searched() } else { None }
    }

    #[cold]
    #[inline(never)]
    fn wake_unless_searched(&self) -> Option<usize> {
        // ORDERING: pairs with the fence in `end_search`: either the last searcher's look at the queues
        // after that sees the work, or the load below sees that nobody searches.
        fence(Ordering::SeqCst);
        if self.words.searching_count.load(Ordering::Relaxed) != 0 {
            return None;
        }
        self.claim_sleeper()
    }

    /// Whether somebody has nothing to do: the sign for lazy splitters to split.
    #[inline]
    pub(crate) fn anyone_searches(&self) -> bool {
        self.words.searching_count.load(Ordering::Relaxed) != 0
    }

    #[inline]
    pub(crate) fn anyone_sleeps(&self) -> bool {
        self.words.sleeping_count.load(Ordering::Relaxed) != 0
    }

    /// How many sleep, or are about to.
    pub(crate) fn sleeping_count(&self) -> usize {
        self.words.sleeping_count.load(Ordering::Relaxed) as usize
    }

    /// Chooses a sleeper and counts it among those who search; nobody if somebody does already.
    #[cold]
    #[must_use = "the worker must be unparked"]
    pub(crate) fn claim_sleeper(&self) -> Option<usize> {
        loop {
            // ORDERING: SeqCst on all read-modify-writes of the two words: README's argument is
            // made in their single order.
            let first =
                self.words.searching_count.compare_exchange(0, 1, Ordering::SeqCst, Ordering::Relaxed);
            if first.is_err() {
                return None;
            }
            if let Some(worker) = self.take_bit() {
                return Some(worker);
            }
            // All woke up meanwhile. Whoever saw the count that was raised above relies on it, so
            // this thread must look again after lowering it.
            if self.words.searching_count.fetch_sub(1, Ordering::SeqCst) != 1 {
                return None;
            }
            fence(Ordering::SeqCst);
            // Bits and not the count: whoever has raised that and not set its bit yet will look by itself.
            if self.words.sleeping.iter().all(|word| word.load(Ordering::SeqCst) == 0) {
                return None;
            }
        }
    }

    fn take_bit(&self) -> Option<usize> {
        for (index, word) in self.words.sleeping.iter().enumerate() {
            let mut bits = word.load(Ordering::SeqCst);
            while bits != 0 {
                let bit = bits.trailing_zeros();
                let before = word.fetch_and(!(1 << bit), Ordering::SeqCst);
                if before & (1 << bit) != 0 {
                    self.words.sleeping_count.fetch_sub(1, Ordering::SeqCst);
                    return Some(index * 64 + bit as usize);
                }
                bits = before & !(1 << bit);
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
        // ORDERING: pairs with the fence in `wake_unless_searched`.
        fence(Ordering::SeqCst);
        last && self.anyone_sleeps()
    }

    /// Says that `worker` is about to sleep, and that it no longer searches if it did.
    ///
    /// After this the caller must look at all queues once more ([`wake_self`](Self::wake_self) if there is
    /// something) before it sleeps.
    pub(crate) fn announce(&self, worker: usize, searched: bool) {
        self.words.sleeping_count.fetch_add(1, Ordering::SeqCst);
        self.words.sleeping[worker / 64].fetch_or(1 << (worker % 64), Ordering::SeqCst);
        if searched {
            self.words.searching_count.fetch_sub(1, Ordering::SeqCst);
        }
        // ORDERING: pairs with `light_fence` in `work_was_added`.
        heavy_fence(self.asymmetric);
    }

    /// Takes the announcement back, or learns that somebody took it.
    pub(crate) fn wake_self(&self, worker: usize) -> Woken {
        let bit = 1 << (worker % 64);
        let before = self.words.sleeping[worker / 64].fetch_and(!bit, Ordering::SeqCst);
        if before & bit == 0 {
            return Woken::ToSearch;
        }
        self.words.sleeping_count.fetch_sub(1, Ordering::SeqCst);
        Woken::ByItself
    }
}

#[cfg(all(test, loom))]
mod model;

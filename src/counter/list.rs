//! The counters of one job, however many.
//!
//! Two are held in place. Each further one is held by a [`Link`] from the pool, so that no number of them costs an
//! allocation.

#![expect(unsafe_code, reason = "links live in recycled slots")]

use super::cell::CounterCell;
use super::link::Link;
use super::public::Counter;

/// See the [module](self). In no particular order.
#[derive(Default)]
pub(crate) struct CounterList {
    first: Option<Counter>,
    second: Option<Counter>,
    /// The link that holds the one that came last; the link of the one before follows it.
    more: Option<&'static Link>,
}

impl CounterList {
    #[inline]
    pub(crate) fn push(&mut self, counter: Counter) {
        if self.first.is_none() {
            self.first = Some(counter);
        } else if self.second.is_none() {
            self.second = Some(counter);
        } else {
            self.more = Some(Link::keep(counter, self.more));
        }
    }

    /// Adds 1 to each counter, or to none.
    ///
    /// # Panics
    ///
    /// If one of them is at its greatest value.
    #[track_caller]
    pub(crate) fn add_one_each(&self) {
        for (index, counter) in self.iter().enumerate() {
            if counter.word().add(1).is_err() {
                for earlier in self.iter().take(index) {
                    let _ = earlier.signal(1);
                }
                at_greatest_value();
            }
        }
    }

    /// The only counter, if there is just one.
    #[inline]
    pub(crate) fn take_only(&mut self) -> Option<Counter> {
        if self.second.is_some() { None } else { self.first.take() }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    #[inline]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'static CounterCell> {
        let more = std::iter::successors(self.more, |link| link.kept_before()).map(Link::kept);
        self.first.iter().chain(&self.second).map(|counter| counter.cell()).chain(more)
    }
}

#[cold]
#[track_caller]
pub(crate) fn at_greatest_value() -> ! {
    panic!("a counter of the job is at its greatest value, {}", Counter::MAX);
}

impl Drop for CounterList {
    #[inline]
    fn drop(&mut self) {
        // PERF: nearly always there are none.
        while let Some(link) = self.more {
            self.more = link.kept_before();
            // SAFETY: the list's own, and not in it any more.
            drop(unsafe { link.give_up() });
        }
    }
}

//! When the tiers of [`Pinning::TieredSpillover`](super::Pinning::TieredSpillover) wake and sleep: a pure controller of load and time.
//!
//! A tier wakes when the workers of those that are awake were over [`BUSY_PERCENT`] busy during a whole [`RISE`], and work is
//! queued at its end. It sleeps again when those that are awake were busy for so little during a whole [`FALL`] that one tier less
//! would have been less than [`CALM_PERCENT`] busy with the same work. The two limits lie apart and a fall takes much longer
//! than a rise, so a load that alternates between frames keeps what its peaks need.

use std::time::Duration;

/// Busier than this, and another tier wakes.
pub(crate) const BUSY_PERCENT: u64 = 80;
/// If one tier less would have been less busy than this, the highest sleeps.
pub(crate) const CALM_PERCENT: u64 = 60;
/// How long the load must be high.
pub(crate) const RISE: Duration = Duration::from_micros(500);
/// How long it must be low.
pub(crate) const FALL: Duration = Duration::from_millis(100);

/// What is known at some moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// On a clock that never goes back.
    pub(crate) now: Duration,
    /// How long workers have worked up to now, added up over all of them.
    pub(crate) busy: Duration,
    /// Whether there is work that nobody has taken.
    pub(crate) queued: bool,
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub(crate) struct Controller {
    /// How many workers there are in the first tier, in the first two, and so on; without tiers that have none.
    workers: Vec<u64>,
    /// How many tiers are awake, at least 1.
    awake: usize,
    rise: Window,
    fall: Window,
}

/// A period that has begun, and the busy time at its beginning.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    since: Duration,
    busy: Duration,
}

impl Window {
    fn begin(load: Load) -> Self {
        Self { since: load.now, busy: load.busy }
    }

    /// How busy `workers` were since it began, in per cent; `None` before it has lasted for `length`.
    fn percent(self, load: Load, length: Duration, workers: u64) -> Option<u64> {
        let wall = load.now.saturating_sub(self.since);
        if wall < length {
            return None;
        }
        let busy = load.busy.saturating_sub(self.busy).as_nanos();
        let whole = wall.as_nanos().max(1) * u128::from(workers.max(1));
        Some((busy * 100 / whole) as u64)
    }
}

impl Controller {
    /// A controller of tiers with so many workers each. Only the first is awake.
    pub(crate) fn new(tier_sizes: &[usize], load: Load) -> Self {
        let mut sum = 0;
        let sizes = tier_sizes.iter().filter(|size| **size > 0);
        let workers = sizes.map(|size| {
            sum += *size as u64;
            sum
        });
        Self { workers: workers.collect(), awake: 1, rise: Window::begin(load), fall: Window::begin(load) }
    }

    /// How many workers are to be awake: those of the lowest tiers.
    pub(crate) fn awake_workers(&self) -> usize {
        self.workers.get(self.awake - 1).copied().unwrap_or(0) as usize
    }

    /// Begins anew to measure: what has happened up to now does not count.
    pub(crate) fn begin(&mut self, load: Load) {
        self.rise = Window::begin(load);
        self.fall = Window::begin(load);
    }

    /// Takes the load of now into account; whether the number of tiers that are awake has changed.
    pub(crate) fn observe(&mut self, load: Load) -> bool {
        let now_awake = self.workers.get(self.awake - 1).copied().unwrap_or(1);
        if let Some(percent) = self.rise.percent(load, RISE, now_awake) {
            self.rise = Window::begin(load);
            if percent > BUSY_PERCENT && load.queued && self.awake < self.workers.len() {
                self.awake += 1;
                self.fall = Window::begin(load);
                return true;
            }
        }
        if self.awake == 1 {
            self.fall = Window::begin(load);
            return false;
        }
        let without_highest = self.workers[self.awake - 2];
        if let Some(percent) = self.fall.percent(load, FALL, without_highest) {
            self.fall = Window::begin(load);
            if percent < CALM_PERCENT {
                self.awake -= 1;
                self.rise = Window::begin(load);
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests;

//! How the time of a whole run is divided among the cells.
//!
//! Each cell is run several times, and each of these runs has a *share* of the time: its soft limit, after which it
//! begins no further round. A workload that needs longer by its nature - it waits for a clock, or fills much memory -
//! gets a larger share. Where the time does not suffice for all runs, there are fewer; where it does not suffice for
//! the fewest, the shares are smaller.
//!
//! What is here only calculates. The runner asks again before each workload, with the time that is left then: what one
//! workload has not used, the next ones have, and what a system that hangs has cost is missing.

use std::time::Duration;

/// A part of the time, in per cent, is kept for processes to start and for runs that are repeated.
const RESERVE_PERCENT: u32 = 15;
/// The least share: enough for a round of what is quick.
const SHARE_MIN: Duration = Duration::from_millis(30);

/// What a run of a cell takes on a system that is good at it, if nobody hurries it: in a full run, and in a quick one.
const USUAL: [Duration; 2] = [Duration::from_millis(800), Duration::from_millis(300)];
/// The workloads that take longer by their nature.
const LONG: [(&str, [Duration; 2]); 10] = [
    ("memory_fibers", [Duration::from_millis(4_000), Duration::from_millis(800)]),
    ("par_for", [Duration::from_millis(1_500), Duration::from_millis(500)]),
    ("par_for_sizes", [Duration::from_millis(2_500), Duration::from_millis(700)]),
    ("sand", [Duration::from_millis(2_000), Duration::from_millis(1_000)]),
    ("timers", [Duration::from_millis(1_500), Duration::from_millis(700)]),
    ("outside", [Duration::from_millis(3_000), Duration::from_millis(700)]),
    ("latency", [Duration::from_millis(2_200), Duration::from_millis(700)]),
    ("frame_beside_low", [Duration::from_millis(4_000), Duration::from_millis(1_400)]),
    ("frame_beside_background", [Duration::from_millis(4_000), Duration::from_millis(1_400)]),
    ("idle", [Duration::from_millis(1_400), Duration::from_millis(1_400)]),
];

/// What a run of a cell of this workload takes on a good system.
pub(crate) fn usual_time(workload: &str, quick: bool) -> Duration {
    let [full, short] = LONG.iter().find(|(name, _)| *name == workload).map_or(USUAL, |(_, times)| *times);
    if quick { short } else { full }
}

/// The cells of a workload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    /// How many there are.
    pub(crate) cells: usize,
    /// What a run of one takes.
    pub(crate) run: Duration,
}

/// How often cells are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// At least so often, while there is time.
    pub(crate) least: usize,
    /// At most so often.
    pub(crate) most: usize,
}

/// What the cells of a workload get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// Runs of each cell.
    pub(crate) runs: usize,
    /// No further round is begun in a run after this time.
    pub(crate) soft_limit: Duration,
    /// What all of the workload's runs may take together.
    pub(crate) all: Duration,
}

/// Divides the time that is `left` among `wishes`, and returns what the cells of the first of them get.
///
/// # Panics
/// If there are no wishes.
pub(crate) fn share(left: Duration, wishes: &[Wish], limits: Limits) -> Share {
    let first = wishes[0];
    let usable = left * (100 - RESERVE_PERCENT) / 100;
    let all_once: Duration = wishes.iter().map(|wish| wish.once()).sum();
    let fits = ratio(usable, all_once);
    let runs = (fits as usize).clamp(limits.least, limits.most);
    // More than a good system takes is good for nothing but slow ones, which are content with few rounds.
    let scale = (fits / runs as f64).min(2.0);
    Share {
        runs,
        soft_limit: first.run.mul_f64(scale).max(SHARE_MIN),
        all: usable.mul_f64(ratio(first.once(), all_once).min(1.0)),
    }
}

/// What the first run of a cell has shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FirstRun {
    /// What it took.
    pub(crate) took: Duration,
    pub(crate) showed: Showed,
}

/// What is to be thought of a cell after its first run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Showed {
    /// That it can be run as often as others.
    Usual,
    /// That the system is so much slower than others that a few runs suffice.
    Slow,
    /// That it hangs: it is tried so often in all.
    Hangs(usize),
}

/// How often each cell is to be run in all, when the first runs have shown this and so much time is `left` for the
/// others: as often as the time suffices for, within the limits. Without any time there is no further run, and
/// what hangs is not tried again where the time is short.
pub(crate) fn runs_of(first_runs: &[FirstRun], left: Duration, limits: Limits) -> Vec<usize> {
    let least = if left.is_zero() { 1 } else { limits.least };
    let runs_of_slow = limits.least.max(SLOW_RUNS).min(limits.most);
    let runs = |most: usize, tries_max: usize| {
        let of_one = move |first: &FirstRun| match first.showed {
            Showed::Usual => most,
            Showed::Slow => most.min(runs_of_slow),
            Showed::Hangs(tries) => most.min(tries).min(tries_max),
        };
        first_runs.iter().map(of_one).collect::<Vec<_>>()
    };
    let fits = |runs: &Vec<usize>| {
        let others = first_runs.iter().zip(runs).map(|(first, runs)| first.took * (runs - 1) as u32);
        others.sum::<Duration>() <= left
    };
    // What hangs is the first thing not to be tried again.
    let mut plans = [usize::MAX, 1].into_iter().flat_map(|tries| {
        let runs = &runs;
        (least..=limits.most).rev().map(move |most| runs(most, tries))
    });
    plans.find(fits).unwrap_or_else(|| runs(least, 1))
}

/// What is to be expected of a whole run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Estimate {
    /// The cells.
    pub(crate) cells: usize,
    /// Runs of a cell that takes what is usual.
    pub(crate) runs: usize,
    /// What all of them take if each takes its share or what is usual, whichever is less.
    pub(crate) usual: Duration,
    /// What they take if each takes its share.
    pub(crate) most: Duration,
}

/// What a run with these `wishes` takes that has so much `time`.
pub(crate) fn estimate(time: Duration, wishes: &[Wish], limits: Limits) -> Estimate {
    let mut estimate = Estimate { cells: 0, runs: limits.most, usual: Duration::ZERO, most: Duration::ZERO };
    for index in 0..wishes.len() {
        let (wish, order) = (wishes[index], [&wishes[index..], &wishes[..index]].concat());
        let share = share(time, &order, limits);
        let runs = u32::try_from(wish.cells * share.runs).unwrap_or(u32::MAX);
        estimate.cells += wish.cells;
        estimate.runs = estimate.runs.min(share.runs);
        estimate.usual += share.soft_limit.min(wish.run) * runs;
        estimate.most += share.soft_limit * runs;
    }
    estimate
}

/// A system that takes so many times as long as the one that it is compared with is slow: [`SLOW_RUNS`] suffice.
pub(crate) const SLOW_RATIO: f64 = 10.0;
const SLOW_RUNS: usize = 3;

impl Wish {
    /// What one run of each cell takes.
    fn once(&self) -> Duration {
        self.run * u32::try_from(self.cells).unwrap_or(u32::MAX)
    }
}

/// How often `part` fits into `whole`.
fn ratio(whole: Duration, part: Duration) -> f64 {
    if part.is_zero() { f64::from(u32::MAX) } else { whole.as_secs_f64() / part.as_secs_f64() }
}

#[cfg(test)]
mod tests;

//! The controller under a clock and loads of the tests' own.

use super::{Controller, FALL, Load, RISE};
use std::time::Duration;

const STEP: Duration = Duration::from_micros(100);

/// A machine that the controller's decisions work on: work comes, and the workers that are awake do it.
struct Machine {
    controller: Controller,
    now: Duration,
    busy: Duration,
    /// Work that has come and was not done, in worker time.
    waiting: Duration,
    /// The numbers of workers that were awake, each time it changed, and when.
    changes: Vec<(Duration, usize)>,
}

impl Machine {
    fn new(tier_sizes: &[usize]) -> Self {
        let load = Load { now: Duration::ZERO, busy: Duration::ZERO, queued: false };
        let controller = Controller::new(tier_sizes, load);
        Self { controller, now: load.now, busy: load.busy, waiting: Duration::ZERO, changes: Vec::new() }
    }

    /// Work for `workers` workers comes for `time`.
    fn run(&mut self, time: Duration, workers: f64) -> &mut Self {
        let end = self.now + time;
        while self.now < end {
            self.now += STEP;
            self.waiting += STEP.mul_f64(workers);
            let done = self.waiting.min(STEP * self.controller.awake_workers() as u32);
            self.waiting -= done;
            self.busy += done;
            let load = Load { now: self.now, busy: self.busy, queued: !self.waiting.is_zero() };
            if self.controller.observe(load) {
                self.changes.push((self.now, self.controller.awake_workers()));
            }
        }
        self
    }

    fn awake(&self) -> usize {
        self.controller.awake_workers()
    }
}

const LONG: Duration = Duration::from_secs(1);

#[test]
fn only_the_first_tier_is_awake_at_first_and_while_there_is_little_to_do() {
    let mut machine = Machine::new(&[8, 8, 16]);
    assert_eq!(machine.awake(), 8);
    for workers in [0.0, 1.0, 6.0] {
        machine.run(LONG, workers);
        assert_eq!(machine.awake(), 8);
    }
    assert!(machine.changes.is_empty());
}

#[test]
fn tiers_wake_one_after_the_other_and_soon() {
    let mut machine = Machine::new(&[8, 8, 16]);
    machine.run(LONG, 32.0);
    let counts: Vec<usize> = machine.changes.iter().map(|change| change.1).collect();
    assert_eq!(counts, [16, 32]);
    assert!(machine.changes[1].0 <= 3 * RISE, "{:?}", machine.changes);
}

#[test]
fn a_tier_that_is_busy_without_queued_work_wakes_nobody() {
    let mut machine = Machine::new(&[4, 4]);
    // Just what four can do: nothing is left over.
    machine.run(LONG, 4.0);
    assert!(machine.changes.is_empty(), "{:?}", machine.changes);
    machine.run(LONG, 4.5);
    assert_eq!(machine.awake(), 8);
}

#[test]
fn the_highest_tier_sleeps_when_the_load_has_been_low_for_long() {
    let mut machine = Machine::new(&[8, 8, 16]);
    machine.run(LONG, 32.0);
    machine.waiting = Duration::ZERO;
    let fell = machine.now;
    machine.run(LONG, 4.0);
    let falls: Vec<_> = machine.changes.iter().filter(|change| change.0 > fell).copied().collect();
    assert_eq!(falls.iter().map(|change| change.1).collect::<Vec<_>>(), [16, 8]);
    assert!(falls[0].0 >= fell + FALL && falls[1].0 >= falls[0].0 + FALL, "{falls:?}");
}

#[test]
fn a_steady_load_between_the_limits_changes_nothing() {
    // 12 of 16 busy: one tier would be overloaded, two are not.
    let mut machine = Machine::new(&[8, 8]);
    machine.run(LONG, 12.0);
    assert_eq!(machine.changes.len(), 1);
    machine.run(10 * LONG, 12.0);
    assert_eq!((machine.changes.len(), machine.awake()), (1, 16));
    // 5 of 8 busy with one tier: the second sleeps, and stays asleep.
    machine.run(10 * LONG, 4.0);
    assert_eq!((machine.changes.len(), machine.awake()), (2, 8));
}

#[test]
fn frames_keep_what_their_peaks_need() {
    // 4 ms of load for all and 12 ms of nothing, as at 60 frames a second.
    let mut machine = Machine::new(&[8, 8]);
    for _ in 0..200 {
        machine.run(Duration::from_millis(4), 16.0).run(Duration::from_millis(12), 0.0);
    }
    // A quarter of the time: 4 of 8, below the limit; the tier sleeps between peaks, not more often than a fall takes.
    let falls = machine.changes.iter().filter(|change| change.1 == 8).count();
    assert!(falls <= (machine.now.as_nanos() / FALL.as_nanos()) as usize, "{falls}");
    // Half of the time: the tier stays.
    let mut machine = Machine::new(&[8, 8]);
    for _ in 0..200 {
        machine.run(Duration::from_millis(8), 16.0).run(Duration::from_millis(8), 0.0);
    }
    assert_eq!(machine.changes.len(), 1, "{:?}", machine.changes);
}

#[test]
fn empty_tiers_do_not_count_and_a_clock_that_stands_still_changes_nothing() {
    let mut machine = Machine::new(&[2, 0, 2]);
    machine.run(LONG, 8.0);
    assert_eq!(machine.changes.iter().map(|change| change.1).collect::<Vec<_>>(), [4]);
    let load = Load { now: machine.now, busy: machine.busy + LONG, queued: true };
    for _ in 0..10 {
        assert!(!machine.controller.observe(load));
    }
    let one = Controller::new(&[3], load);
    assert_eq!(one.awake_workers(), 3);
    assert_eq!(Controller::new(&[], load).awake_workers(), 0);
}

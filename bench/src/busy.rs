//! Work that takes a known time: dependent steps of a generator, as many as a calibration has shown to last
//! that long.
//!
//! Spinning until the clock says so would take the time during which a thread is preempted for work that it
//! has done. A step is done or it is not.

use std::{hint::black_box, time::Duration};

use crate::measure::time_ns;

/// Steps before the calibration, about 10 ms: they let the processor reach its usual speed.
const WARM_UP_STEPS: u64 = 8_000_000;
/// Steps in a trial of the calibration, about 50 us.
const TRIAL_STEPS: u64 = 40_000;
const TRIALS: usize = 60;

/// How fast this machine does the steps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Busy {
    steps_per_ns: f64,
}

impl Busy {
    /// Measures how long a step takes. The fastest trial counts: it is the one that nobody disturbed.
    pub(crate) fn calibrate() -> Busy {
        do_steps(WARM_UP_STEPS);
        let fastest_ns = (0..TRIALS).map(|_| time_ns(|| do_steps(TRIAL_STEPS))).fold(f64::INFINITY, f64::min);
        Busy { steps_per_ns: TRIAL_STEPS as f64 / fastest_ns.max(1.0) }
    }

    /// Does work that takes this thread so long while nobody preempts it.
    pub(crate) fn work(self, time: Duration) {
        do_steps((time.as_nanos() as f64 * self.steps_per_ns) as u64);
    }
}

/// Steps of a generator, each of which needs the one before.
#[inline(never)]
fn do_steps(count: u64) {
    let mut state = black_box(count);
    for _ in 0..count {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    }
    black_box(state);
}

#[cfg(test)]
mod tests;

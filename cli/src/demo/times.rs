//! How long the phases of the frames took, and the percentiles of that.

use std::time::Duration;

use crate::sand::StepTimes;

/// The durations of one phase, one for each frame.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn push(&mut self, duration: Duration) {
        self.0.push(duration);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn sum(&self) -> Duration {
        self.0.iter().sum()
    }

    /// The smallest duration that at least `percent` of all frames do not exceed; zero without any.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied().unwrap_or_default()
    }
}

/// The durations of all phases. Those that did not take place are empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times {
    pub(crate) clear: Samples,
    pub(crate) mark: Samples,
    pub(crate) update: Samples,
    /// The phases of the simulation together.
    pub(crate) simulation: Samples,
    pub(crate) draw: Samples,
    pub(crate) encode: Samples,
    /// From the start of a frame's simulation to the start of the next one's.
    pub(crate) frame: Samples,
}

impl Times {
    /// Adds what the simulation of a frame took.
    pub(crate) fn push_simulation(&mut self, frame: StepTimes) {
        self.clear.push(frame.clear);
        self.mark.push(frame.mark);
        self.update.push(frame.update);
        self.simulation.push(frame.total());
    }
}

#[cfg(test)]
mod tests;

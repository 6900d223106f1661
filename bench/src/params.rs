//! What a cell is told: how many workers, and how thorough to be.

use std::time::Duration;

/// The settings of one cell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Params {
    /// Worker threads that the system under test may use.
    pub(crate) workers: usize,
    /// Fewer repetitions inside the cell. Problem sizes stay the same, so that quick figures can be compared
    /// with thorough ones.
    pub(crate) quick: bool,
    /// The cell's share of the time: no repetition is begun after it, except the first.
    pub(crate) soft_limit: Duration,
}

impl Params {
    /// Repetitions inside the cell: `full`, or about a third of them in a quick run.
    pub(crate) fn repeats(&self, full: usize) -> usize {
        if self.quick { full.div_ceil(3).max(3.min(full)) } else { full }
    }

    /// The settings of one of so many measurements that a cell makes one after the other.
    pub(crate) fn share(&self, measurements: usize) -> Params {
        Params {
            soft_limit: self.soft_limit / u32::try_from(measurements.max(1)).unwrap_or(u32::MAX),
            ..*self
        }
    }

    /// Samples that are taken at a steady rate: `full` of them, or a third in a quick run, or as many as the soft
    /// limit has room for, but at least `least`.
    pub(crate) fn samples(&self, full: usize, each: Duration, least: usize) -> usize {
        let room = self.soft_limit.as_nanos() / each.as_nanos().max(1);
        self.repeats(full).min(usize::try_from(room).unwrap_or(usize::MAX)).max(least)
    }
}

#[cfg(test)]
mod tests;

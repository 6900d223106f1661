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
    /// No repetition is begun after this much time, except the first.
    pub(crate) soft_limit: Duration,
}

impl Params {
    /// Repetitions inside the cell: `full`, or about a third of them in a quick run.
    pub(crate) fn repeats(&self, full: usize) -> usize {
        if self.quick { full.div_ceil(3).max(3.min(full)) } else { full }
    }
}

//! 16,000 fibers take turns on one worker: a switch when the stacks do not fit into the first-level cache.

use super::{Metric, Workers, Workload};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "switch_many",
    about: "16,000 fibers yield in turn on one worker; corosensei: a bare resume and suspend, round robin",
    workers: Workers::One,
    metrics: &[
        Metric { name: "turn", unit: "ns", about: "a fiber suspends, the next resumes; corosensei: coloured tops" },
        Metric { name: "turn, aligned tops", unit: "ns", about: "the same with stack tops that are page-aligned" },
    ],
};

/// Fibers that take turns.
pub(crate) const FIBERS: usize = 16_000;
/// Turns that each fiber takes in a round.
pub(crate) const TURNS: usize = 64;
/// Turns that all fibers take together in a round.
pub(crate) const TURNS_IN_ALL: u64 = (FIBERS * TURNS) as u64;
/// Repetitions inside a cell.
pub(crate) const REPEATS: usize = 7;

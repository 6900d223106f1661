//! A hundred producers send 10,000 items each through bounded queues.
//!
//! `each`: every producer has a queue and a consumer of its own. `shared`: all send into one queue, which one consumer
//! empties. A queue holds [`CAPACITY`] items; who finds it full, or empty, waits.

use super::{Metric, Workers, Workload};
use crate::{cell::Measured, measure::ns_per_op, params::Params};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "producers",
    about: "100 producers send 10,000 items each through bounded queues of 64; ramie: queues of two counters each",
    workers: Workers::Each,
    metrics: &[
        Metric { name: "each", unit: "ns", about: "an item; a queue and a consumer for each producer" },
        Metric { name: "shared", unit: "ns", about: "an item; one queue and one consumer for all producers" },
    ],
};

/// Producers.
pub(crate) const PRODUCERS: usize = 100;
/// Items that each sends: the numbers from 0 on.
pub(crate) const ITEMS: u64 = 10_000;
/// Items that a queue holds.
pub(crate) const CAPACITY: usize = 64;
const REPEATS: usize = 5;

/// How a system runs the two forms. Each function sends all items and returns the sum of what the consumers got.
#[derive(Default)]
pub(crate) struct Rounds<'a> {
    pub(crate) each: Option<&'a dyn Fn() -> u64>,
    pub(crate) shared: Option<&'a dyn Fn() -> u64>,
}

/// Times the forms that there are.
pub(crate) fn measure(params: &Params, rounds: &Rounds<'_>) -> Measured {
    let all = PRODUCERS as u64 * ITEMS;
    let expected = PRODUCERS as u64 * (ITEMS * (ITEMS - 1) / 2);
    let forms = [("each", rounds.each), ("shared", rounds.shared)];
    let params = params.share(forms.iter().flat_map(|(_, round)| round).count());
    let mut measured = Measured::default();
    for (metric, round) in forms {
        let Some(round) = round else { continue };
        let ns = ns_per_op(&params, REPEATS, all, || assert_eq!(round(), expected, "items are missing"));
        measured = measured.with(metric, ns);
    }
    measured
}

//! Two fibers on one worker wake each other by two events in turn: wait for one's own, set the other's.
//!
//! `switch` is the same with ramie's counters. An event lets one waiter through and is reset by that.

use super::{Metric, Workers, Workload};
use crate::{cell::Measured, measure::ns_per_op, params::Params};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "event_ping_pong",
    about: "two fibers on one worker wait for an event each and set the other's; thread: two OS threads on one CPU",
    workers: Workers::One,
    metrics: &[Metric { name: "pass", unit: "ns", about: "one way: one sets and waits, the other goes on" }],
};

/// One-way passes in a round.
pub(crate) const PASSES: u64 = 1_000_000;

/// A way to pass: its name, and a function that passes as often as all of them do.
pub(crate) type Form<'a> = (&'a str, &'a dyn Fn());

/// Times all forms, each of which passes so often.
pub(crate) fn measure(params: &Params, passes: u64, forms: &[Form<'_>]) -> Measured {
    let params = params.share(forms.len());
    let time = |round: &dyn Fn()| ns_per_op(&params, 9, passes, round);
    let figures = forms.iter().map(|(name, round)| (name.to_string(), time(round))).collect();
    Measured::default().with_best("pass", figures)
}

//! Two fibers on one worker send a number to and fro through two channels that hold one message each.

use super::{Metric, Workers, Workload};
use crate::{cell::Measured, measure::ns_per_op, params::Params};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "channel_ping_pong",
    about: "two fibers on one worker, two channels of capacity 1; thread: two OS threads on one CPU",
    workers: Workers::One,
    metrics: &[Metric { name: "pass", unit: "ns", about: "a message, from the send until the other has it" }],
};

/// Messages in a round, one half in either direction.
pub(crate) const PASSES: u64 = 500_000;

/// A way to send: its name, and a function that sends as many messages as all of them do.
pub(crate) type Form<'a> = (&'a str, &'a dyn Fn());

/// Times all forms, each of which sends so many messages.
pub(crate) fn measure(params: &Params, passes: u64, forms: &[Form<'_>]) -> Measured {
    let params = params.share(forms.len());
    let time = |round: &dyn Fn()| ns_per_op(&params, 9, passes, round);
    let figures = forms.iter().map(|(name, round)| (name.to_string(), time(round))).collect();
    Measured::default().with_best("pass", figures)
}

/// What the one does that begins: sends a number, and gets the one that follows.
pub(crate) fn ping(passes: u64, send: impl Fn(u64), receive: impl Fn() -> u64) {
    for number in 0..passes / 2 {
        send(number);
        answered(number, receive());
    }
}

/// What the other does.
pub(crate) fn pong(passes: u64, receive: impl Fn() -> u64, send: impl Fn(u64)) {
    for _ in 0..passes / 2 {
        send(answer(receive()));
    }
}

/// The answer to this number.
pub(crate) fn answer(number: u64) -> u64 {
    number + 1
}

/// Checks the answer to this number.
pub(crate) fn answered(number: u64, got: u64) {
    assert_eq!(got, answer(number), "a message was lost or changed");
}

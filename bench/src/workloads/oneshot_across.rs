//! Messages through channels that are made for one message each: from a task on one worker to a task on another, and
//! from a thread outside the system to a task.
//!
//! `pass`: two tasks, which have met on two workers, answer each other. Each message brings the sender for its answer, so
//! that a pass is a channel made, a message sent and a wait for it. Where the system runs a task that it wakes is its
//! own business: one that moves the task to the waking worker pays for no wake across processors.
//!
//! `outside`: a thread sends the time to a task that waits, a millisecond after the last one, so that the workers have
//! nothing else to do. The task's first act is to look at the clock.

use std::{
    hint::spin_loop,
    sync::atomic::{AtomicUsize, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

use super::{Metric, Workers, Workload};
use crate::{
    cell::Measured,
    measure::{ns_per_op, percentile},
    params::Params,
};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "oneshot_across",
    about: "oneshot channels between tasks that begin on two workers, and from a thread outside; thread: OS threads, mpsc",
    workers: Workers::Two,
    metrics: &[
        Metric { name: "pass", unit: "ns", about: "a message between two tasks, with the making of its channel" },
        Metric { name: "outside p50", unit: "us", about: "from before a thread outside sends until the task has it" },
        Metric { name: "outside p99", unit: "us", about: "from before a thread outside sends until the task has it" },
    ],
};

/// Messages in a round, one half in either direction.
pub(crate) const PASSES: u64 = 100_000;
/// Messages from a thread outside.
const SAMPLES: usize = 500;
const SAMPLES_LEAST: usize = 50;
const WARM_UPS: usize = 10;
const PERIOD: Duration = Duration::from_millis(1);

/// A message: how many came before it, and the sender for the answer.
#[derive(Debug)]
pub(crate) struct Letter<S> {
    pub(crate) number: u64,
    pub(crate) reply: S,
}

/// Where two tasks meet, each of which has a worker for itself by that.
#[derive(Debug, Default)]
pub(crate) struct Rendezvous(AtomicUsize);

impl Rendezvous {
    /// Spins until both are there.
    pub(crate) fn arrive(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
        while self.0.load(Ordering::Acquire) < 2 {
            spin_loop();
        }
    }
}

/// Times `round`, which passes [`PASSES`] messages and returns the last one's number, and then a thread outside. `pair`
/// makes a channel. `start` starts a task that waits in each of the channels in turn, and keeps the time since the
/// message was sent; what it returns waits for the task.
pub(crate) fn measure<S, R, J: FnOnce() -> Vec<Duration>>(
    params: &Params,
    round: impl Fn() -> u64,
    pair: impl Fn() -> (S, R),
    send: impl Fn(S, Instant),
    start: impl FnOnce(Vec<R>) -> J,
) -> Measured {
    let params = &params.share(2);
    let round = || assert_eq!(round(), PASSES - 1, "messages were lost");
    let pass_ns = ns_per_op(params, 9, PASSES, round);
    let samples = params.samples(SAMPLES, PERIOD, SAMPLES_LEAST);
    let (senders, receivers): (Vec<S>, Vec<R>) = (0..WARM_UPS + samples).map(|_| pair()).unzip();
    let task = start(receivers);
    for sender in senders {
        sleep(PERIOD);
        send(sender, Instant::now());
    }
    let times = task().split_off(WARM_UPS);
    let mut times_us: Vec<f64> = times.into_iter().map(|time| time.as_nanos() as f64 / 1e3).collect();
    Measured::one("pass", pass_ns)
        .with("outside p50", percentile(&mut times_us, 50.0))
        .with("outside p99", percentile(&mut times_us, 99.0))
}

//! The hot paths, each as a round of so many operations on a system of one worker.

use std::hint::black_box;

use ramie::{Counter, JobSystem, Scope};

/// A path to count.
#[derive(Debug)]
pub(crate) struct HotPath {
    pub(super) name: &'static str,
    /// What an operation is.
    pub(super) operation: &'static str,
    /// Operations in a round.
    pub(super) operations: u64,
    round: fn(&JobSystem),
}

const JOBS: u64 = 1_000;
const PASSES: u64 = 2_000;

pub(super) static ALL: &[HotPath] = &[
    HotPath {
        name: "join",
        operation: "a join of fib(20), without a cutoff",
        operations: 10_945,
        round: |_| assert_eq!(fib(black_box(20)), 6_765),
    },
    HotPath {
        name: "spawn",
        operation: "a job of a scope, whose handle is dropped",
        operations: JOBS,
        round: |_| ramie::scope(|scope| (0..JOBS).for_each(|n| drop(scope.spawn(move || _ = black_box(n))))),
    },
    HotPath {
        name: "detach",
        operation: "a job of a scope, without a handle",
        operations: JOBS,
        round: |_| ramie::scope(|scope| (0..JOBS).for_each(|n| scope.detach(move || _ = black_box(n)))),
    },
    HotPath {
        name: "counted",
        operation: "a detached job with a counter",
        operations: JOBS,
        round: |system| {
            let ended = Counter::new(0);
            (0..JOBS).for_each(|n| system.job().counter(&ended).detach(move || _ = black_box(n)));
            ended.wait();
        },
    },
    HotPath {
        name: "chain",
        operation: "a job of a scope that is spawned by the one before",
        operations: JOBS,
        round: |_| ramie::scope(|scope| link(scope, JOBS)),
    },
    HotPath {
        name: "counter pass",
        operation: "one way between two fibers: signal, wait, re-arm",
        operations: 2 * PASSES,
        round: |_| {
            let (ping, pong) = (Counter::new(1), Counter::new(1));
            let pass = |mine: &Counter, other: &Counter| {
                for _ in 0..PASSES {
                    mine.wait();
                    mine.add(1);
                    other.signal();
                }
            };
            ramie::scope(|scope| {
                scope.detach(|| pass(&ping, &pong));
                scope.detach(|| {
                    ping.signal();
                    pass(&pong, &ping);
                });
            });
        },
    },
    HotPath {
        name: "fan-out",
        operation: "a job that waits for a counter, with hundreds of others",
        operations: JOBS,
        round: |_| {
            let gate = Counter::new(1);
            ramie::scope(|scope| {
                // The newest job runs first, so this one is the last.
                scope.detach(|| gate.signal());
                (0..JOBS).for_each(|_| scope.detach(|| gate.wait()));
            });
        },
    },
    HotPath {
        name: "yield",
        operation: "a yield of one of a hundred fibers",
        operations: JOBS,
        round: |_| {
            ramie::scope(|scope| {
                (0..100).for_each(|_| scope.detach(|| (0..JOBS / 100).for_each(|_| ramie::yield_now())));
            });
        },
    },
];

fn fib(n: u32) -> u64 {
    if n < 2 {
        return n.into();
    }
    let (left, right) = ramie::join(|| fib(n - 1), || fib(n - 2));
    left + right
}

fn link<'scope>(scope: &'scope Scope<'scope, '_>, left: u64) {
    if left > 0 {
        scope.detach(move || link(scope, left - 1));
    }
}

/// Runs the path called `name` so often.
pub(crate) fn run(name: &str, rounds: u64) -> Result<(), String> {
    let path =
        ALL.iter().find(|path| path.name == name).ok_or_else(|| format!("no hot path is called '{name}'"))?;
    let system = JobSystem::builder().workers(1).build().map_err(|error| error.to_string())?;
    // In one job: what a job outside costs is no part of the paths, and a worker that waits for one spins.
    let inner = system.clone();
    system.run(move || (0..rounds).for_each(|_| (path.round)(&inner)));
    Ok(())
}

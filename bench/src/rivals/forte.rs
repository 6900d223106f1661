//! Forte: a low-latency pool for joins, scopes and futures, whose workers share work at a heartbeat. Its version
//! declares a newer Rust than this harness needs, so that it is measured only with the feature `forte`.
//!
//! A thread that waits for the pool's work becomes a member of it and works as well; the crate's own
//! `resize_to_available` leaves a processor free for it. Rounds run on the calling thread, as a member: with so
//! many workers the pool has one thread less. Where the calling thread only submits, the pool has as many
//! threads as there are workers.

use std::sync::Arc;

use forte::{Scope, ThreadPool, Worker};

use super::{Kind, Rival, tokio::Countdown};
use crate::{
    cell::Measured,
    fork::ForkJoin,
    params::Params,
    workloads::{
        chain, chain_sizes, fib, flat_batch, flat_spawn, flat_spawn_sizes, idle, integrate, jobs_200ns,
        mandelbrot, matmul, never_waits, nqueens, outside, par_for, quicksort, sand,
        skynet, start_stop, tree, tree_sizes, uts,
        wavefront::{self, Grid},
    },
};

pub(crate) static RIVAL: Rival = Rival {
    name: "forte",
    about: "joins, scopes and futures on workers that share at a heartbeat",
    kind: Kind::System,
    package: Some("forte"),
    workers_max: Some(31),
    cells: &[
        (&fib::WORKLOAD, fib),
        (&integrate::WORKLOAD, |params| by_join(params, integrate::measure::<Join>)),
        (&nqueens::WORKLOAD, |params| by_join(params, nqueens::measure::<Join>)),
        (&uts::WORKLOAD, |params| by_join(params, uts::measure::<Join>)),
        (&quicksort::WORKLOAD, |params| by_join(params, quicksort::measure::<Join>)),
        (&matmul::WORKLOAD, |params| by_join(params, matmul::measure::<Join>)),
        (&skynet::WORKLOAD, skynet),
        (&flat_spawn::WORKLOAD, flat_spawn),
        (&flat_spawn_sizes::WORKLOAD, flat_spawn_sizes),
        (&flat_batch::WORKLOAD, flat_batch),
        (&jobs_200ns::WORKLOAD, jobs_200ns),
        (&never_waits::WORKLOAD, never_waits),
        (&chain::WORKLOAD, chain),
        (&chain_sizes::WORKLOAD, chain_sizes),
        (&tree::WORKLOAD, tree),
        (&tree_sizes::WORKLOAD, tree_sizes),
        (&wavefront::WORKLOAD, wavefront),
        (&par_for::WORKLOAD, par_for),
        (&mandelbrot::WORKLOAD, mandelbrot),
        (&sand::WORKLOAD, sand),
        (&outside::WORKLOAD, outside),
        (&start_stop::WORKLOAD, start_stop),
        (&idle::WORKLOAD, idle),
    ],
};

/// Pools have to be static; a process measures one cell.
static POOL: ThreadPool = ThreadPool::new();

/// Runs `f` on the calling thread as a member of a pool with so many workers in all.
fn as_member<T>(params: &Params, f: impl FnOnce(&Worker) -> T) -> T {
    POOL.resize_to(params.workers - 1);
    POOL.with_worker(f)
}

struct Join;

impl ForkJoin for Join {
    type Context<'a> = &'a Worker;

    #[inline(always)]
    fn join<A, B, RA, RB>(worker: &mut &Worker, a: A, b: B) -> (RA, RB)
    where
        A: FnOnce(&mut &Worker) -> RA + Send,
        B: FnOnce(&mut &Worker) -> RB + Send,
        RA: Send,
        RB: Send,
    {
        worker.join(|mut worker| a(&mut worker), |mut worker| b(&mut worker))
    }
}

fn fib(params: &Params) -> Measured {
    fn fib(worker: &Worker, n: u32) -> u64 {
        if n < 2 {
            return n.into();
        }
        let (left, right) = worker.join(|worker| fib(worker, n - 1), |worker| fib(worker, n - 2));
        left + right
    }
    as_member(params, |worker| fib::measure(params, |n| fib(worker, n)))
}

/// Runs a measurement whose recursion all systems share.
fn by_join(params: &Params, measure: fn(&Params, &mut &Worker) -> Measured) -> Measured {
    as_member(params, |mut worker| measure(params, &mut worker))
}

/// By joins only: a scope waits by running other jobs on its stack, the oldest first, and stacks overflow.
fn skynet(params: &Params) -> Measured {
    as_member(params, |worker| {
        skynet::measure(params, &[("join", &|all| skynet::by_join::<Join>(&mut { worker }, all))])
    })
}

fn spawn_flat(worker: &Worker, jobs: usize) {
    worker.scope(|scope| {
        for index in 0..jobs {
            scope.spawn(move |_: &Worker| flat_spawn::empty(index));
        }
    });
}

fn flat_spawn(params: &Params) -> Measured {
    as_member(params, |worker| flat_spawn::measure(params, || spawn_flat(worker, flat_spawn::JOBS)))
}

fn flat_spawn_sizes(params: &Params) -> Measured {
    as_member(params, |worker| flat_spawn_sizes::measure(params, |jobs| spawn_flat(worker, jobs)))
}

fn flat_batch(params: &Params) -> Measured {
    as_member(params, |worker| flat_batch::measure(params, || spawn_flat(worker, flat_spawn::JOBS)))
}

fn jobs_200ns(params: &Params) -> Measured {
    as_member(params, |worker| {
        jobs_200ns::measure(params, |job| {
            worker.scope(|scope| {
                (0..jobs_200ns::JOBS).for_each(|_| scope.spawn(move |_: &Worker| job.run()));
            });
        })
    })
}

/// There are no counters: an atomic one, and a notification for which the worker waits as for any future.
fn never_waits(params: &Params) -> Measured {
    as_member(params, |worker| {
        never_waits::measure(params, || {
            let ended = Arc::new(Countdown::new(flat_spawn::JOBS));
            for index in 0..flat_spawn::JOBS {
                let ended = Arc::clone(&ended);
                worker.spawn(move |_: &Worker| {
                    flat_spawn::empty(index);
                    ended.count_down();
                });
            }
            worker.block_on(ended.wait());
        })
    })
}

fn link<'scope>(scope: &'scope Scope<'scope, '_>, left: usize) {
    if left > 0 {
        scope.spawn(move |_: &Worker| link(scope, left - 1));
    }
}

fn chain(params: &Params) -> Measured {
    as_member(params, |worker| {
        chain::measure(params, || worker.scope(|scope| link(scope, chain::EDGES)))
    })
}

fn chain_sizes(params: &Params) -> Measured {
    as_member(params, |worker| {
        chain_sizes::measure(params, |jobs| worker.scope(|scope| link(scope, jobs)))
    })
}

fn node<'scope>(scope: &'scope Scope<'scope, '_>, depth: u32) {
    if depth > 0 {
        scope.spawn(move |_: &Worker| node(scope, depth - 1));
        scope.spawn(move |_: &Worker| node(scope, depth - 1));
    }
}

fn run_tree(worker: &Worker, depth: u32) {
    worker.scope(|scope| scope.spawn(move |_: &Worker| node(scope, depth)));
}

fn tree(params: &Params) -> Measured {
    as_member(params, |worker| tree::measure(params, || run_tree(worker, tree::DEPTH)))
}

fn tree_sizes(params: &Params) -> Measured {
    as_member(params, |worker| tree_sizes::measure(params, |depth| run_tree(worker, depth)))
}

/// There are no dependencies between jobs: the last of a block's predecessors spawns it.
fn wavefront(params: &Params) -> Measured {
    fn run<'scope>(scope: &'scope Scope<'scope, '_>, grid: &'scope Grid, block: usize) {
        grid.compute(block);
        for next in grid.finish(block).into_iter().flatten() {
            scope.spawn(move |_: &Worker| run(scope, grid, next));
        }
    }
    as_member(params, |worker| {
        let wave = |grid: &Arc<Grid>| worker.scope(|scope| run(scope, grid, 0));
        wavefront::measure(params, &[("scope", &wave)])
    })
}

/// Calls `body` for all chunks of `items`, halving what is left by joins.
fn chunks<T: Sync>(
    worker: &Worker,
    first: usize,
    items: &[T],
    size: usize,
    body: &(impl Fn(usize, &[T]) + Sync),
) {
    if items.len() <= size {
        return body(first, items);
    }
    let half = items.len().div_ceil(size) / 2;
    let (left, right) = items.split_at(half * size);
    worker.join(
        |worker| chunks(worker, first, left, size, body),
        |worker| chunks(worker, first + half, right, size, body),
    );
}

/// As [`chunks`], of items that may be changed.
fn chunks_mut<T: Send>(
    worker: &Worker,
    first: usize,
    items: &mut [T],
    size: usize,
    body: &(impl Fn(usize, &mut [T]) + Sync),
) {
    if items.len() <= size {
        return body(first, items);
    }
    let half = items.len().div_ceil(size) / 2;
    let (left, right) = items.split_at_mut(half * size);
    worker.join(
        |worker| chunks_mut(worker, first, left, size, body),
        |worker| chunks_mut(worker, first + half, right, size, body),
    );
}

/// Loops over chunks, by hand.
struct Loops<'a>(&'a Worker);

impl sand::Loops for Loops<'_> {
    fn chunks<T: Sync>(&self, items: &[T], size: usize, body: impl Fn(usize, &[T]) + Send + Sync) {
        chunks(self.0, 0, items, size, &body);
    }

    fn chunks_mut<T: Send>(&self, items: &mut [T], size: usize, body: impl Fn(usize, &mut [T]) + Send + Sync) {
        chunks_mut(self.0, 0, items, size, &body);
    }
}

/// There are no loops: they are halved by joins.
fn par_for(params: &Params) -> Measured {
    fn items(worker: &Worker, from: usize, to: usize, size: usize) {
        if to - from <= size {
            return (from..to).for_each(par_for::item);
        }
        let middle = from.midpoint(to);
        worker.join(|worker| items(worker, from, middle, size), |worker| items(worker, middle, to, size));
    }
    as_member(params, |worker| {
        let saxpy = |a, x: &[f32], y: &mut [f32], size: usize| {
            let body = |index: usize, y: &mut [f32]| par_for::saxpy(a, &x[index * size..][..y.len()], y);
            chunks_mut(worker, 0, y, size, &body);
        };
        let per_worker = |y: &[f32], parts: usize| y.len().div_ceil(parts * params.workers);
        par_for::measure(
            params,
            &[
                ("join, 1024", &|a, x, y| saxpy(a, x, y, 1024)),
                ("join, 4096", &|a, x, y| saxpy(a, x, y, 4096)),
                ("join, n/workers", &|a, x, y| saxpy(a, x, y, per_worker(y, 1))),
                ("join, n/(4 workers)", &|a, x, y| saxpy(a, x, y, per_worker(y, 4))),
            ],
            &[("join, 1", &|n| items(worker, 0, n, 1)), ("join, 16", &|n| items(worker, 0, n, 16))],
        )
    })
}

fn mandelbrot(params: &Params) -> Measured {
    as_member(params, |worker| mandelbrot::measure(params, &Loops(worker)))
}

fn sand(params: &Params) -> Measured {
    as_member(params, |worker| sand::measure(params, &Loops(worker)))
}

/// Runs a job on the pool's own threads, while the calling thread waits for it.
fn run_job() {
    POOL.block_on(POOL.spawn(async {}));
}

/// A submission looks for parked workers without a fence after it has pushed its job: one that is about to park
/// may be missed, and if nothing else is submitted the job never starts.
fn outside(params: &Params) -> Measured {
    POOL.resize_to(params.workers);
    let submit = |probe: outside::Probe| POOL.spawn(move |_: &Worker| probe.start());
    outside::measure(params, submit, submit)
}

/// `depopulate` waits for the threads.
fn start_stop(params: &Params) -> Measured {
    start_stop::measure(
        params,
        || {
            POOL.resize_to(params.workers);
            run_job();
        },
        |()| {
            POOL.depopulate();
        },
    )
}

fn idle(params: &Params) -> Measured {
    POOL.resize_to(params.workers);
    run_job();
    idle::measure()
}

//! rayon: work stealing without suspension, the yardstick for forks, spawns and loops.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread::{self, Thread},
};

use rayon::{Scope, ThreadPool, ThreadPoolBuilder, prelude::*};

use super::{Kind, Rival};
use crate::{
    cell::Measured,
    fork::ForkJoin,
    params::Params,
    workloads::{
        chain, chain_sizes, fib, flat_batch, flat_spawn, flat_spawn_sizes, idle, integrate, jobs_200ns,
        latency::{self, Piece, Probe},
        mandelbrot, matmul, never_waits, nqueens, outside, par_for, quicksort, sand,
        skynet::{self, Share},
        start_stop, tree, tree_sizes, uts,
        wavefront::{self, Grid},
    },
};

pub(crate) static RIVAL: Rival = Rival {
    name: "rayon",
    about: "work stealing without suspension",
    kind: Kind::System,
    package: Some("rayon"),
    workers_max: None,
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
        (&latency::WORKLOAD, latency),
        (&start_stop::WORKLOAD, start_stop),
        (&idle::WORKLOAD, idle),
    ],
};

fn pool(workers: usize) -> ThreadPool {
    ThreadPoolBuilder::new().num_threads(workers).build().expect("the pool starts")
}

fn fib(params: &Params) -> Measured {
    fn fib(n: u32) -> u64 {
        if n < 2 {
            return n.into();
        }
        let (left, right) = rayon::join(|| fib(n - 1), || fib(n - 2));
        left + right
    }
    pool(params.workers).install(|| fib::measure(params, fib))
}

struct Join;

impl ForkJoin for Join {
    type Context<'a> = ();

    fn join<A, B, RA, RB>((): &mut (), a: A, b: B) -> (RA, RB)
    where
        A: FnOnce(&mut ()) -> RA + Send,
        B: FnOnce(&mut ()) -> RB + Send,
        RA: Send,
        RB: Send,
    {
        rayon::join(|| a(&mut ()), || b(&mut ()))
    }
}

/// Runs a measurement whose recursion all systems share.
fn by_join(params: &Params, measure: fn(&Params, &mut ()) -> Measured) -> Measured {
    pool(params.workers).install(|| measure(params, &mut ()))
}

/// A parallel iterator would not make a job of every child.
fn skynet(params: &Params) -> Measured {
    fn in_scope(share: Share) -> u64 {
        if let Some(number) = share.leaf() {
            return number;
        }
        let mut sums = [0; skynet::CHILDREN];
        rayon::scope(|scope| {
            for (index, sum) in sums.iter_mut().enumerate() {
                scope.spawn(move |_| *sum = in_scope(share.child(index)));
            }
        });
        sums.iter().sum()
    }
    pool(params.workers).install(|| {
        let by_join = |all| skynet::by_join::<Join>(&mut (), all);
        skynet::measure(params, &[("join", &by_join), ("scope", &in_scope)])
    })
}

fn spawn_flat(jobs: usize) {
    rayon::scope(|scope| {
        for index in 0..jobs {
            scope.spawn(move |_| flat_spawn::empty(index));
        }
    });
}

fn flat_spawn(params: &Params) -> Measured {
    pool(params.workers).install(|| flat_spawn::measure(params, || spawn_flat(flat_spawn::JOBS)))
}

fn flat_spawn_sizes(params: &Params) -> Measured {
    pool(params.workers).install(|| flat_spawn_sizes::measure(params, spawn_flat))
}

fn flat_batch(params: &Params) -> Measured {
    pool(params.workers).install(|| flat_batch::measure(params, || spawn_flat(flat_spawn::JOBS)))
}

fn jobs_200ns(params: &Params) -> Measured {
    pool(params.workers).install(|| {
        jobs_200ns::measure(params, |job| {
            rayon::scope(|scope| (0..jobs_200ns::JOBS).for_each(|_| scope.spawn(move |_| job.run())));
        })
    })
}

/// A job of rayon cannot wait for a counter: the calling thread, outside the pool, parks until it is zero.
fn never_waits(params: &Params) -> Measured {
    struct Counter {
        left: AtomicUsize,
        waiter: Thread,
    }
    let pool = pool(params.workers);
    never_waits::measure(params, || {
        let counter =
            Arc::new(Counter { left: AtomicUsize::new(flat_spawn::JOBS), waiter: thread::current() });
        pool.spawn({
            let counter = Arc::clone(&counter);
            move || {
                for index in 0..flat_spawn::JOBS {
                    let counter = Arc::clone(&counter);
                    rayon::spawn(move || {
                        flat_spawn::empty(index);
                        if counter.left.fetch_sub(1, Ordering::AcqRel) == 1 {
                            counter.waiter.unpark();
                        }
                    });
                }
            }
        });
        while counter.left.load(Ordering::Acquire) != 0 {
            thread::park();
        }
    })
}

fn link<'scope>(scope: &Scope<'scope>, left: usize) {
    if left > 0 {
        scope.spawn(move |scope| link(scope, left - 1));
    }
}

fn chain(params: &Params) -> Measured {
    pool(params.workers)
        .install(|| chain::measure(params, || rayon::scope(|scope| link(scope, chain::EDGES))))
}

fn chain_sizes(params: &Params) -> Measured {
    pool(params.workers)
        .install(|| chain_sizes::measure(params, |jobs| rayon::scope(|scope| link(scope, jobs))))
}

fn node<'scope>(scope: &Scope<'scope>, depth: u32) {
    if depth > 0 {
        scope.spawn(move |scope| node(scope, depth - 1));
        scope.spawn(move |scope| node(scope, depth - 1));
    }
}

fn run_tree(depth: u32) {
    rayon::scope(|scope| scope.spawn(move |scope| node(scope, depth)));
}

fn tree(params: &Params) -> Measured {
    pool(params.workers).install(|| tree::measure(params, || run_tree(tree::DEPTH)))
}

fn tree_sizes(params: &Params) -> Measured {
    pool(params.workers).install(|| tree_sizes::measure(params, run_tree))
}

/// There are no dependencies between jobs: the last of a block's predecessors spawns it.
fn wavefront(params: &Params) -> Measured {
    fn run<'scope>(scope: &Scope<'scope>, grid: &'scope Grid, block: usize) {
        grid.compute(block);
        for next in grid.finish(block).into_iter().flatten() {
            scope.spawn(move |scope| run(scope, grid, next));
        }
    }
    pool(params.workers).install(|| {
        wavefront::measure(params, &[("scope", &|grid| rayon::scope(|scope| run(scope, grid, 0)))])
    })
}

fn par_for(params: &Params) -> Measured {
    let workers = params.workers;
    let chunks = |a, x: &[f32], y: &mut [f32], chunk: usize| {
        y.par_chunks_mut(chunk).zip(x.par_chunks(chunk)).for_each(|(y, x)| par_for::saxpy(a, x, y));
    };
    pool(workers).install(|| {
        par_for::measure(
            params,
            &[
                ("par_iter.zip", &|a, x, y| {
                    y.par_iter_mut().zip(x).for_each(|(y, x)| *y += a * x);
                }),
                ("par_iter.zip, min_len 1024", &|a, x, y| {
                    y.par_iter_mut().zip(x).with_min_len(1024).for_each(|(y, x)| *y += a * x);
                }),
                ("par_chunks 4096", &|a, x, y| chunks(a, x, y, 4096)),
                ("par_chunks n/workers", &|a, x, y| chunks(a, x, y, x.len().div_ceil(workers))),
                ("par_chunks n/(4 workers)", &|a, x, y| chunks(a, x, y, x.len().div_ceil(4 * workers))),
            ],
            &[
                ("par_iter", &|n| (0..n).into_par_iter().for_each(par_for::item)),
                ("par_iter, min_len 16", &|n| (0..n).into_par_iter().with_min_len(16).for_each(par_for::item)),
            ],
        )
    })
}

struct Loops;

impl sand::Loops for Loops {
    fn chunks<T: Sync>(&self, items: &[T], size: usize, body: impl Fn(usize, &[T]) + Send + Sync) {
        items.par_chunks(size).enumerate().for_each(|(index, chunk)| body(index, chunk));
    }

    fn chunks_mut<T: Send>(&self, items: &mut [T], size: usize, body: impl Fn(usize, &mut [T]) + Send + Sync) {
        items.par_chunks_mut(size).enumerate().for_each(|(index, chunk)| body(index, chunk));
    }
}

fn mandelbrot(params: &Params) -> Measured {
    pool(params.workers).install(|| mandelbrot::measure(params, &Loops))
}

fn sand(params: &Params) -> Measured {
    pool(params.workers).install(|| sand::measure(params, &Loops))
}

fn outside(params: &Params) -> Measured {
    let pool = pool(params.workers);
    let submit = |probe: outside::Probe| pool.spawn(move || probe.start());
    outside::measure(params, submit, submit)
}

/// There are no priorities. With `spawn`, each worker would run its newest piece for ever.
fn latency(params: &Params) -> Measured {
    struct OnePool(ThreadPool);
    impl latency::System for OnePool {
        fn submit_piece(&self, piece: Piece<OnePool>) {
            self.0.spawn_fifo(move || piece.run());
        }

        fn submit_probe(&self, probe: Probe) {
            self.0.spawn_fifo(move || probe.run());
        }
    }
    latency::measure(params, OnePool(pool(params.workers)))
}

/// Dropping a pool of rayon does not wait for its threads: the exit handlers tell when they end.
fn start_stop(params: &Params) -> Measured {
    start_stop::measure(
        params,
        || {
            let (sender, ended) = mpsc::channel();
            let sender = Mutex::new(sender);
            let tell = move |_| {
                // Nobody listens any more only if the measurement has failed.
                let _ = sender.lock().expect("nobody panics").send(());
            };
            let builder = ThreadPoolBuilder::new().num_threads(params.workers).exit_handler(tell);
            let pool = builder.build().expect("the pool starts");
            pool.install(|| ());
            (pool, ended)
        },
        |(pool, ended)| {
            drop(pool);
            (0..params.workers).for_each(|_| ended.recv().expect("each thread tells that it ends"));
        },
    )
}

fn idle(params: &Params) -> Measured {
    let pool = pool(params.workers);
    pool.install(|| ());
    idle::measure()
}

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
        batches, chain, chain_sizes, fib, flat_batch, flat_spawn, flat_spawn_sizes, frame, idle, imbalanced,
        integrate, jobs_200ns,
        latency::{self, Piece, Probe},
        mandelbrot, matmul, never_waits, npb, nqueens, outside, par_for, par_for_sizes, quicksort, sand,
        skynet::{self, Share},
        start_stop,
        thief_latency::{self, Meeting},
        transforms, tree, tree_sizes, uts, wake_storm,
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
        (&batches::WORKLOAD, batches),
        (&imbalanced::WORKLOAD, imbalanced),
        (&transforms::WORKLOAD, transforms),
        (&par_for::WORKLOAD, par_for),
        (&par_for_sizes::WORKLOAD, par_for_sizes),
        (&npb::WORKLOAD, npb),
        (&tree_sizes::WORKLOAD, tree_sizes),
        (&wavefront::WORKLOAD, wavefront),
        (&mandelbrot::WORKLOAD, mandelbrot),
        (&sand::WORKLOAD, sand),
        (&outside::WORKLOAD, outside),
        (&wake_storm::WORKLOAD, wake_storm),
        (&thief_latency::WORKLOAD, thief_latency),
        (&latency::WORKLOAD, latency),
        (&frame::WORKLOAD, frame),
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
    pool(params.workers).install(|| {
        with_saxpy_forms(params.workers, |saxpy| {
            par_for::measure(
                params,
                saxpy,
                &[
                    ("par_iter", &|n| (0..n).into_par_iter().for_each(par_for::item)),
                    ("par_iter, min_len 16", &|n| {
                        (0..n).into_par_iter().with_min_len(16).for_each(par_for::item)
                    }),
                ],
            )
        })
    })
}

fn par_for_sizes(params: &Params) -> Measured {
    pool(params.workers).install(|| {
        with_saxpy_forms(params.workers, |saxpy| {
            par_for_sizes::measure(
                params,
                saxpy,
                &[
                    ("par_iter", &|values| values.par_iter_mut().for_each(par_for_sizes::heavy)),
                    ("par_iter, max_len 1", &|values| {
                        values.par_iter_mut().with_max_len(1).for_each(par_for_sizes::heavy)
                    }),
                ],
            )
        })
    })
}

/// Hands over the forms of the saxpy loop.
fn with_saxpy_forms<R>(workers: usize, measure: impl FnOnce(&[par_for::SaxpyForm<'_>]) -> R) -> R {
    let chunks = |a, x: &[f32], y: &mut [f32], chunk: usize| {
        y.par_chunks_mut(chunk).zip(x.par_chunks(chunk)).for_each(|(y, x)| par_for::saxpy(a, x, y));
    };
    measure(&[
        ("par_iter.zip", &|a, x, y| {
            y.par_iter_mut().zip(x).for_each(|(y, x)| *y += a * x);
        }),
        ("par_iter.zip, min_len 1024", &|a, x, y| {
            y.par_iter_mut().zip(x).with_min_len(1024).for_each(|(y, x)| *y += a * x);
        }),
        ("par_chunks 4096", &|a, x, y| chunks(a, x, y, 4096)),
        ("par_chunks n/workers", &|a, x, y| chunks(a, x, y, x.len().div_ceil(workers))),
        ("par_chunks n/(4 workers)", &|a, x, y| chunks(a, x, y, x.len().div_ceil(4 * workers))),
    ])
}

/// Its loops over chunks.
struct Loops;

impl sand::Loops for Loops {
    fn chunks<T: Sync>(&self, items: &[T], size: usize, body: impl Fn(usize, &[T]) + Send + Sync) {
        items.par_chunks(size).enumerate().for_each(|(index, chunk)| body(index, chunk));
    }

    fn chunks_mut<T: Send>(
        &self,
        items: &mut [T],
        size: usize,
        body: impl Fn(usize, &mut [T]) + Send + Sync,
    ) {
        items.par_chunks_mut(size).enumerate().for_each(|(index, chunk)| body(index, chunk));
    }
}

fn sand(params: &Params) -> Measured {
    pool(params.workers).install(|| sand::measure(params, &Loops))
}

fn npb(params: &Params) -> Measured {
    pool(params.workers).install(|| npb::measure(params, &Loops))
}

fn batches(params: &Params) -> Measured {
    let scope = |jobs| {
        rayon::scope(|scope| (0..jobs).for_each(|index| scope.spawn(move |_| flat_spawn::empty(index))));
    };
    let loops = |jobs: usize| (0..jobs).into_par_iter().with_max_len(1).for_each(flat_spawn::empty);
    pool(params.workers).install(|| {
        batches::measure(
            params,
            &[
                ("scope", &|jobs, batches| (0..batches).for_each(|_| scope(jobs))),
                ("par_iter, max_len 1", &|jobs, batches| (0..batches).for_each(|_| loops(jobs))),
            ],
        )
    })
}

fn mandelbrot(params: &Params) -> Measured {
    pool(params.workers).install(|| mandelbrot::measure(params, &Loops))
}

fn imbalanced(params: &Params) -> Measured {
    const JOBS: usize = imbalanced::JOBS;
    pool(params.workers).install(|| {
        imbalanced::measure(
            params,
            &[
                ("scope", &|jobs| {
                    rayon::scope(|scope| {
                        (0..JOBS).for_each(|index| scope.spawn(move |_| jobs.run(index)));
                    });
                }),
                ("par_iter", &|jobs| (0..JOBS).into_par_iter().for_each(|index| jobs.run(index))),
                ("par_iter, max_len 1", &|jobs| {
                    (0..JOBS).into_par_iter().with_max_len(1).for_each(|index| jobs.run(index));
                }),
            ],
        )
    })
}

fn transforms(params: &Params) -> Measured {
    fn visit<'scope>(scope: &Scope<'scope>, node: transforms::Node<'scope>) {
        node.visit(|child| scope.spawn(move |scope| visit(scope, child)));
    }
    pool(params.workers)
        .install(|| transforms::measure(params, |root| rayon::scope(|scope| visit(scope, root))))
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

fn wake_storm(params: &Params) -> Measured {
    let pool = pool(params.workers);
    wake_storm::measure(params, |drops| drops.for_each(|drop| pool.spawn(move || drop.run())))
}

fn thief_latency(params: &Params) -> Measured {
    fn descend(meeting: &Meeting, depth: u32) {
        match depth {
            0 => meeting.work(),
            _ => _ = rayon::join(|| descend(meeting, depth - 1), || meeting.start()),
        }
    }
    let spawner = |meeting: &'static Meeting| {
        meeting.begin();
        rayon::scope(|scope| {
            scope.spawn(|_| meeting.start());
            meeting.work();
        });
        meeting.end();
    };
    let joiner = |meeting: &'static Meeting| {
        meeting.begin();
        descend(meeting, thief_latency::DEPTH);
        meeting.end();
    };
    let pool = pool(params.workers);
    thief_latency::measure(
        params,
        &thief_latency::Submit {
            thief: &|meeting| pool.spawn(move || meeting.occupy()),
            spawner: Some(&|meeting| pool.spawn(move || spawner(meeting))),
            joiner: Some(&|meeting| pool.spawn(move || joiner(meeting))),
        },
    )
}

fn frame(params: &Params) -> Measured {
    pool(params.workers).install(|| {
        frame::measure(params, |job| {
            for _ in 0..frame::BARRIERS {
                rayon::scope(|scope| (0..frame::JOBS).for_each(|_| scope.spawn(move |_| job.run())));
            }
        })
    })
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

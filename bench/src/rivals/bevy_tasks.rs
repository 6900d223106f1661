//! bevy_tasks: the task pools of a game engine, on async-executor. Its scopes run tasks on the calling thread,
//! too: rounds are therefore run by a task, so that no more threads work than the workers that were asked for.

use std::{
    array,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bevy_tasks::{
    ParallelSlice, ParallelSliceMut, Scope, TaskPool, TaskPoolBuilder, block_on,
    futures_lite::future::yield_now,
};

use super::{Kind, Rival};
use crate::{
    cell::Measured,
    params::Params,
    placement::pin_to_nth_cpu,
    workloads::{
        batches, chain, chain_sizes, flat_spawn, flat_spawn_sizes, frame,
        frame_beside_low::{self, BARRIERS, JOBS, SPLIT_PIECE},
        idle, imbalanced, jobs_200ns,
        latency::{self, Piece, Probe},
        mandelbrot, npb, outside, par_for, par_for_sizes, sand,
        skynet::{self, Share},
        start_stop,
        thief_latency::{self, Meeting},
        transforms, tree, tree_sizes, wake_storm,
        wavefront::{self, Grid},
        yields,
    },
};

pub(crate) static RIVAL: Rival = Rival {
    name: "bevy_tasks",
    about: "a game engine's task pools, scopes of futures",
    kind: Kind::System,
    package: Some("bevy_tasks"),
    workers_max: None,
    cells: &[
        (&skynet::WORKLOAD, skynet),
        (&flat_spawn::WORKLOAD, flat_spawn),
        (&yields::WORKLOAD, yields),
        (&flat_spawn_sizes::WORKLOAD, flat_spawn_sizes),
        (&jobs_200ns::WORKLOAD, jobs_200ns),
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
        (&frame_beside_low::WORKLOAD, frame_beside_low),
        (&start_stop::WORKLOAD, start_stop),
        (&idle::WORKLOAD, idle),
    ],
};

fn pool(workers: usize) -> TaskPool {
    TaskPoolBuilder::new().num_threads(workers).build()
}

/// A pool that lives as long as the process, which ends with the cell: tasks that are spawned may refer to it.
fn leaked_pool(workers: usize) -> &'static TaskPool {
    Box::leak(Box::new(pool(workers)))
}

/// Runs `f` in a task of a pool, while the calling thread waits for it.
fn in_task<T, F>(params: &Params, f: F) -> T
where
    T: Send + 'static,
    F: FnOnce(&Params, &'static TaskPool) -> T + Send + 'static,
{
    let (params, pool) = (*params, leaked_pool(params.workers));
    block_on(pool.spawn(async move { f(&params, pool) }))
}

/// A task awaits the tasks that it has spawned.
fn skynet(params: &Params) -> Measured {
    fn sum(pool: &'static TaskPool, share: Share) -> Pin<Box<dyn Future<Output = u64> + Send>> {
        Box::pin(async move {
            if let Some(number) = share.leaf() {
                return number;
            }
            let children: [_; skynet::CHILDREN] =
                array::from_fn(|index| pool.spawn(sum(pool, share.child(index))));
            let mut all = 0;
            for child in children {
                all += child.await;
            }
            all
        })
    }
    let pool = leaked_pool(params.workers);
    skynet::measure(params, &[("tasks", &|all| block_on(pool.spawn(sum(pool, all))))])
}

fn spawn_flat(pool: &TaskPool, jobs: usize) {
    pool.scope(|scope| {
        for index in 0..jobs {
            scope.spawn(async move { flat_spawn::empty(index) });
        }
    });
}

fn flat_spawn(params: &Params) -> Measured {
    in_task(params, |params, pool| flat_spawn::measure(params, || spawn_flat(pool, flat_spawn::JOBS)))
}

fn flat_spawn_sizes(params: &Params) -> Measured {
    in_task(params, |params, pool| flat_spawn_sizes::measure(params, |jobs| spawn_flat(pool, jobs)))
}

fn jobs_200ns(params: &Params) -> Measured {
    in_task(params, |params, pool| {
        jobs_200ns::measure(params, |job| {
            pool.scope(|scope| (0..jobs_200ns::JOBS).for_each(|_| scope.spawn(async move { job.run() })));
        })
    })
}

fn link<'scope>(scope: &'scope Scope<'scope, '_, ()>, left: usize) {
    if left > 0 {
        scope.spawn(async move { link(scope, left - 1) });
    }
}

fn chain(params: &Params) -> Measured {
    in_task(params, |params, pool| {
        chain::measure(params, || drop(pool.scope(|scope| link(scope, chain::EDGES))))
    })
}

fn chain_sizes(params: &Params) -> Measured {
    in_task(params, |params, pool| {
        chain_sizes::measure(params, |jobs| drop(pool.scope(|scope| link(scope, jobs))))
    })
}

fn node<'scope>(scope: &'scope Scope<'scope, '_, ()>, depth: u32) {
    if depth > 0 {
        scope.spawn(async move { node(scope, depth - 1) });
        scope.spawn(async move { node(scope, depth - 1) });
    }
}

fn run_tree(pool: &TaskPool, depth: u32) {
    pool.scope(|scope| scope.spawn(async move { node(scope, depth) }));
}

fn tree(params: &Params) -> Measured {
    in_task(params, |params, pool| tree::measure(params, || run_tree(pool, tree::DEPTH)))
}

fn tree_sizes(params: &Params) -> Measured {
    in_task(params, |params, pool| tree_sizes::measure(params, |depth| run_tree(pool, depth)))
}

/// There are no dependencies between tasks: the last of a block's predecessors spawns it.
fn wavefront(params: &Params) -> Measured {
    fn run<'scope>(scope: &'scope Scope<'scope, '_, ()>, grid: &'scope Grid, block: usize) {
        grid.compute(block);
        for next in grid.finish(block).into_iter().flatten() {
            scope.spawn(async move { run(scope, grid, next) });
        }
    }
    in_task(params, |params, pool| {
        let wave = |grid: &Arc<Grid>| drop(pool.scope(|scope| run(scope, grid, 0)));
        wavefront::measure(params, &[("scope", &wave)])
    })
}

fn par_for(params: &Params) -> Measured {
    in_task(params, |params, pool| {
        let batches = |n: usize, size: usize| {
            pool.scope(|scope| {
                for begin in (0..n).step_by(size) {
                    scope.spawn(async move { (begin..n.min(begin + size)).for_each(par_for::item) });
                }
            });
        };
        with_saxpy_forms(params.workers, pool, |saxpy| {
            par_for::measure(
                params,
                saxpy,
                &[
                    ("scope, batches of 16", &|n| batches(n, 16)),
                    ("scope, batches of n/(8 workers)", &|n| batches(n, n.div_ceil(8 * params.workers))),
                ],
            )
        })
    })
}

fn mandelbrot(params: &Params) -> Measured {
    in_task(params, |params, pool| mandelbrot::measure(params, &Loops(pool)))
}

fn par_for_sizes(params: &Params) -> Measured {
    in_task(params, |params, pool| {
        let chunks = |mut values: &mut [f32], size: usize| {
            values.par_chunk_map_mut(pool, size, |_, chunk| chunk.iter_mut().for_each(par_for_sizes::heavy));
        };
        with_saxpy_forms(params.workers, pool, |saxpy| {
            par_for_sizes::measure(
                params,
                saxpy,
                &[
                    ("par_chunk_map_mut 1", &|values| chunks(values, 1)),
                    ("par_chunk_map_mut n/(4 workers)", &|values| {
                        let size = values.len().div_ceil(4 * params.workers);
                        chunks(values, size);
                    }),
                ],
            )
        })
    })
}

/// Hands over the forms of the saxpy loop.
fn with_saxpy_forms<R>(
    workers: usize,
    pool: &TaskPool,
    measure: impl FnOnce(&[par_for::SaxpyForm<'_>]) -> R,
) -> R {
    let chunks = |a, x: &[f32], mut y: &mut [f32], size: usize| {
        y.par_chunk_map_mut(pool, size, |index, y| par_for::saxpy(a, &x[index * size..][..y.len()], y));
    };
    measure(&[
        ("par_chunk_map_mut 4096", &|a, x, y| chunks(a, x, y, 4096)),
        ("par_chunk_map_mut n/workers", &|a, x, y| chunks(a, x, y, x.len().div_ceil(workers))),
        ("par_chunk_map_mut n/(4 workers)", &|a, x, y| chunks(a, x, y, x.len().div_ceil(4 * workers))),
    ])
}

/// Its loops over chunks.
struct Loops(&'static TaskPool);

impl sand::Loops for Loops {
    fn chunks<T: Sync>(&self, items: &[T], size: usize, body: impl Fn(usize, &[T]) + Send + Sync) {
        items.par_chunk_map(self.0, size, body);
    }

    fn chunks_mut<T: Send>(
        &self,
        mut items: &mut [T],
        size: usize,
        body: impl Fn(usize, &mut [T]) + Send + Sync,
    ) {
        items.par_chunk_map_mut(self.0, size, body);
    }
}

fn sand(params: &Params) -> Measured {
    in_task(params, |params, pool| sand::measure(params, &Loops(pool)))
}

fn npb(params: &Params) -> Measured {
    in_task(params, |params, pool| npb::measure(params, &Loops(pool)))
}

fn batches(params: &Params) -> Measured {
    in_task(params, |params, pool| {
        let batch = |jobs| {
            pool.scope(|scope| {
                (0..jobs).for_each(|index| scope.spawn(async move { flat_spawn::empty(index) }));
            });
        };
        batches::measure(params, &[("scope", &|jobs, batches| (0..batches).for_each(|_| batch(jobs)))])
    })
}

fn imbalanced(params: &Params) -> Measured {
    in_task(params, |params, pool| {
        let scope = |jobs: &'static imbalanced::Jobs| {
            pool.scope(|scope| {
                (0..imbalanced::JOBS).for_each(|index| scope.spawn(async move { jobs.run(index) }));
            });
        };
        imbalanced::measure(params, &[("scope", &scope)])
    })
}

fn transforms(params: &Params) -> Measured {
    fn visit<'scope, 'env>(scope: &'scope Scope<'scope, 'env, ()>, node: transforms::Node<'scope>) {
        node.visit(|child| scope.spawn(async move { visit(scope, child) }));
    }
    in_task(params, |params, pool| {
        transforms::measure(params, |root| drop(pool.scope(|scope| visit(scope, root))))
    })
}

/// Two tasks that yield to each other.
fn yields(params: &Params) -> Measured {
    async fn take_turns() {
        for _ in 0..yields::TURNS {
            yield_now().await;
        }
    }
    let pool = pool(params.workers);
    yields::measure(params, || {
        let tasks = [pool.spawn(take_turns()), pool.spawn(take_turns())];
        tasks.into_iter().for_each(block_on);
    })
}

fn outside(params: &Params) -> Measured {
    let pool = pool(params.workers);
    let submit = |probe: outside::Probe| pool.spawn(async move { probe.start() }).detach();
    outside::measure(params, submit, submit)
}

/// Two pools, as the crate's documentation has it: one for what the next frame needs, one for what does not
/// hurry. Each has as many threads as there are workers.
fn latency(params: &Params) -> Measured {
    struct TwoPools {
        compute: TaskPool,
        async_compute: TaskPool,
    }
    impl latency::System for TwoPools {
        fn submit_piece(&self, piece: Piece<TwoPools>) {
            self.async_compute.spawn(async move { piece.run() }).detach();
        }

        fn submit_probe(&self, probe: Probe) {
            self.compute.spawn(async move { probe.run() }).detach();
        }
    }
    let workers = params.workers;
    latency::measure(params, TwoPools { compute: pool(workers), async_compute: pool(workers) })
}

fn wake_storm(params: &Params) -> Measured {
    let pool = pool(params.workers);
    wake_storm::measure(params, |drops| {
        drops.for_each(|drop| pool.spawn(async move { drop.run() }).detach());
    })
}

fn thief_latency(params: &Params) -> Measured {
    async fn spawner(meeting: &'static Meeting, pool: &TaskPool) {
        meeting.begin();
        let work = pool.spawn(async { meeting.start() });
        meeting.work();
        work.await;
        meeting.end();
    }
    let pool = leaked_pool(params.workers);
    thief_latency::measure(
        params,
        &thief_latency::Submit {
            thief: &|meeting| pool.spawn(async { meeting.occupy() }).detach(),
            spawner: Some(&|meeting| pool.spawn(spawner(meeting, pool)).detach()),
            joiner: None,
        },
    )
}

fn frame(params: &Params) -> Measured {
    in_task(params, |params, pool| {
        frame::measure(params, |job| {
            for _ in 0..frame::BARRIERS {
                pool.scope(|scope| {
                    (0..frame::JOBS).for_each(|_| scope.spawn(async move { job.run() }));
                });
            }
        })
    })
}

/// Two pools as above, each with a thread pinned to each CPU.
fn frame_beside_low(params: &Params) -> Measured {
    let pinned_pool = || {
        let threads = AtomicUsize::new(0);
        let pin = move || pin_to_nth_cpu(threads.fetch_add(1, Ordering::Relaxed));
        Box::leak(Box::new(TaskPoolBuilder::new().num_threads(params.workers).on_thread_spawn(pin).build()))
    };
    let (compute, async_compute): (&'static TaskPool, &'static TaskPool) = (pinned_pool(), pinned_pool());
    frame_beside_low::measure(
        params,
        SPLIT_PIECE,
        |job| {
            block_on(compute.spawn(async move {
                for _ in 0..BARRIERS {
                    compute.scope(|scope| (0..JOBS).for_each(|_| scope.spawn(async move { job.run() })));
                }
            }));
        },
        |background| {
            for _ in 0..params.workers {
                let one = background.new_loop();
                async_compute.spawn(async move { one.run(|| ()) }).detach();
            }
        },
    )
}

fn start_stop(params: &Params) -> Measured {
    start_stop::measure(
        params,
        || {
            let pool = pool(params.workers);
            block_on(pool.spawn(async {}));
            pool
        },
        drop,
    )
}

fn idle(params: &Params) -> Measured {
    let pool = pool(params.workers);
    block_on(pool.spawn(async {}));
    idle::measure()
}

//! may: stackful coroutines on worker threads, after the example of Go.
//!
//! Its runtime is global: it starts with the first coroutine, with as many worker threads as was set before,
//! and cannot be stopped. By default its workers are pinned, a further thread serves timers, a coroutine has a
//! stack of 32 KiB, and 1,000 stacks are kept for further use. Rounds are run by a coroutine.
//!
//! A coroutine takes microseconds to spawn, and has its stack from then on: some 30,000 at once are all that the
//! default limits of the operating system allow. Workloads that give a figure for each operation are therefore
//! measured with fewer of them, and where the jobs do not depend on each other no more are spawned than there
//! are stacks before the first ones have ended.

use std::{
    panic, process,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use may::{
    coroutine::{self, Builder},
    go,
    sync::{Mutex, Semphore, SyncFlag, mpsc, spsc},
};

use super::{Kind, Rival};
use crate::{
    cell::Measured,
    measure::medians,
    params::Params,
    workloads::{
        chain, chain_sizes, channel_ping_pong, event_ping_pong, fanout, fanout_sizes, fib, flat_spawn, flat_spawn_sizes, idle,
        jobs_200ns, mandelbrot, memory_fibers,
        mutex_contended::{self, LOCKERS},
        mutex_ping_pong::{self, MUTEXES}, mutex_uncontended, never_waits, outside, par_for, sand, switch, switch_many,
        timers, tree, tree_sizes,
        wavefront::{self, Grid},
    },
};

pub(crate) static RIVAL: Rival = Rival {
    name: "may",
    about: "stackful coroutines on worker threads",
    kind: Kind::System,
    package: Some("may"),
    workers_max: None,
    cells: &[
        (&fib::WORKLOAD, fib),
        (&flat_spawn::WORKLOAD, flat_spawn),
        (&flat_spawn_sizes::WORKLOAD, flat_spawn_sizes),
        (&jobs_200ns::WORKLOAD, jobs_200ns),
        (&never_waits::WORKLOAD, never_waits),
        (&switch::WORKLOAD, switch),
        (&switch_many::WORKLOAD, switch_many),
        (&event_ping_pong::WORKLOAD, event_ping_pong),
        (&mutex_ping_pong::WORKLOAD, mutex_ping_pong),
        (&channel_ping_pong::WORKLOAD, channel_ping_pong),
        (&mutex_uncontended::WORKLOAD, mutex_uncontended),
        (&mutex_contended::WORKLOAD, mutex_contended),
        (&timers::WORKLOAD, timers),
        (&fanout::WORKLOAD, fanout),
        (&fanout_sizes::WORKLOAD, fanout_sizes),
        (&chain::WORKLOAD, chain),
        (&chain_sizes::WORKLOAD, chain_sizes),
        (&tree::WORKLOAD, tree),
        (&tree_sizes::WORKLOAD, tree_sizes),
        (&wavefront::WORKLOAD, wavefront),
        (&par_for::WORKLOAD, par_for),
        (&mandelbrot::WORKLOAD, mandelbrot),
        (&sand::WORKLOAD, sand),
        (&outside::WORKLOAD, outside),
        (&memory_fibers::WORKLOAD, memory_fibers),
        (&idle::WORKLOAD, idle),
    ],
};

/// Stacks that are kept for further use by default.
const STACKS: usize = 1_000;
/// Jobs in a round of the workloads that have a million with other systems.
const JOBS: usize = 20_000;
/// The number whose Fibonacci number is computed.
const FIB: u32 = 18;
/// Levels below the root of the tree.
const DEPTH: u32 = 12;
/// The most jobs of a tree: at the end half of them are there at once.
const TREE_MAX: usize = 1 << 14;
/// The stack of the coroutine that measures, in words.
const MEASURE_STACK_WORDS: usize = 32 * 1_024;

/// Sets up the runtime, which starts with the first coroutine and keeps so many stacks.
fn set_up(params: &Params, stacks: usize) {
    may::config().set_workers(params.workers).set_pool_capacity(stacks);
    // A coroutine that panics for want of a stack may be one that others wait for.
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        tell(info);
        process::exit(101);
    }));
}

/// Runs `f` in a coroutine, while the calling thread waits for it.
fn in_coroutine<T: Send + 'static>(
    params: &Params,
    stacks: usize,
    f: impl FnOnce(&Params) -> T + Send + 'static,
) -> T {
    set_up(params, stacks);
    let params = *params;
    let handle = go!(Builder::new().stack_size(MEASURE_STACK_WORDS), move || f(&params));
    handle.expect("there is a stack").join().expect("the coroutine does not panic")
}

/// Counts down to zero, for which one coroutine waits.
struct Countdown {
    left: AtomicUsize,
    zero: SyncFlag,
}

impl Countdown {
    fn new(count: usize) -> Countdown {
        Countdown { left: AtomicUsize::new(count), zero: SyncFlag::new() }
    }

    fn count_down(&self) {
        // ORDERING: Release and Acquire make what the others did before visible to the one that is woken.
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.zero.fire();
        }
    }
}

fn fib(params: &Params) -> Measured {
    fn fib(n: u32) -> u64 {
        if n < 2 {
            return n.into();
        }
        let left = go!(move || fib(n - 1));
        let right = fib(n - 2);
        left.join().expect("the coroutine does not panic") + right
    }
    in_coroutine(params, 5 * STACKS, |params| fib::measure_of(params, FIB, fib))
}

/// Spawns coroutines that call `body` with their index, and waits for them, as many at a time as there are
/// stacks.
fn spawn_flat(jobs: usize, body: impl Fn(usize) + Copy + Send) {
    for first in (0..jobs).step_by(STACKS) {
        coroutine::scope(|scope| {
            for index in first..jobs.min(first + STACKS) {
                go!(scope, move || body(index));
            }
        });
    }
}

fn flat_spawn(params: &Params) -> Measured {
    in_coroutine(params, STACKS, |params| {
        flat_spawn::measure_some(params, JOBS, || spawn_flat(JOBS, flat_spawn::empty))
    })
}

fn flat_spawn_sizes(params: &Params) -> Measured {
    in_coroutine(params, STACKS, |params| {
        flat_spawn_sizes::measure(params, |jobs| spawn_flat(jobs, flat_spawn::empty))
    })
}

fn jobs_200ns(params: &Params) -> Measured {
    in_coroutine(params, STACKS, |params| {
        jobs_200ns::measure_some(params, JOBS, |job| spawn_flat(JOBS, move |_| job.run()))
    })
}

/// All are there at once, because nobody waits for any of them.
fn never_waits(params: &Params) -> Measured {
    in_coroutine(params, JOBS, |params| {
        never_waits::measure_some(params, JOBS, || {
            let ended = Arc::new(Countdown::new(JOBS));
            for index in 0..JOBS {
                let ended = Arc::clone(&ended);
                go!(move || {
                    flat_spawn::empty(index);
                    ended.count_down();
                });
            }
            ended.zero.wait();
        })
    })
}

/// Two coroutines park and unpark each other, which takes less than half as long as two semaphores.
fn switch(params: &Params) -> Measured {
    in_coroutine(params, STACKS, |params| switch::measure(params, park_in_turn))
}

/// Passes a million times, as `switch` and `event_ping_pong` want it.
fn park_in_turn() {
    const ROUNDS: u64 = switch::PASSES / 2;
    let first = &coroutine::current();
    coroutine::scope(|scope| {
        let second = go!(scope, move || {
            for _ in 0..ROUNDS {
                coroutine::park();
                first.unpark();
            }
        });
        for _ in 0..ROUNDS {
            second.coroutine().unpark();
            coroutine::park();
        }
    });
}

/// A semaphore without permits is an event, and so is a coroutine's own token, for one that parks.
fn event_ping_pong(params: &Params) -> Measured {
    const PASSES: u64 = event_ping_pong::PASSES;
    const { assert!(PASSES == switch::PASSES) };
    fn pass(mine: &Semphore, other: &Semphore) {
        for _ in 0..PASSES / 2 {
            mine.wait();
            other.post();
        }
    }
    in_coroutine(params, STACKS, |params| {
        let semaphores = || {
            let (ping, pong) = (&Semphore::new(1), &Semphore::new(0));
            coroutine::scope(|scope| {
                go!(scope, move || pass(ping, pong));
                pass(pong, ping);
            });
        };
        event_ping_pong::measure(params, PASSES, &[("Semphore", &semaphores), ("park", &park_in_turn)])
    })
}

fn mutex_ping_pong(params: &Params) -> Measured {
    in_coroutine(params, STACKS, |params| {
        mutex_ping_pong::measure(params, || {
            let circle: &[Mutex<u64>; MUTEXES] = &std::array::from_fn(|_| Mutex::new(0));
            let lock = |position: usize| circle[position].lock().expect("nobody panics");
            let ready = &SyncFlag::new();
            coroutine::scope(|scope| {
                let held = lock(0);
                go!(scope, move || {
                    let held = lock(1);
                    ready.fire();
                    mutex_ping_pong::walk(1, held, mutex_ping_pong::LOCKS, lock);
                });
                ready.wait();
                mutex_ping_pong::walk(0, held, mutex_ping_pong::LOCKS, lock);
            });
            (0..MUTEXES).map(|position| *lock(position)).sum()
        })
    })
}

/// Its channels have no capacity: whoever sends never waits.
fn channel_ping_pong(params: &Params) -> Measured {
    use channel_ping_pong::{PASSES, ping, pong};
    macro_rules! round {
        ($channel:path) => {
            || {
                let ((to, there), (fro, back)) = ($channel(), $channel());
                coroutine::scope(|scope| {
                    go!(scope, move || {
                        let receive = || there.recv().expect("the other sends it");
                        pong(PASSES, receive, |number| fro.send(number).expect("the other waits for it"));
                    });
                    let receive = || back.recv().expect("the other sends it");
                    ping(PASSES, |number| to.send(number).expect("the other waits for it"), receive);
                });
            }
        };
    }
    in_coroutine(params, STACKS, |params| {
        let forms: [channel_ping_pong::Form<'_>; 2] =
            [("mpsc", &round!(mpsc::channel)), ("spsc", &round!(spsc::channel))];
        channel_ping_pong::measure(params, PASSES, &forms)
    })
}

fn mutex_uncontended(params: &Params) -> Measured {
    in_coroutine(params, STACKS, |params| {
        mutex_uncontended::measure(params, || {
            let mutex = Mutex::new(0);
            mutex_uncontended::round(&mutex, |mutex| mutex.lock().expect("nobody panics"));
            mutex.into_inner().expect("nobody panics")
        })
    })
}

fn mutex_contended(params: &Params) -> Measured {
    in_coroutine(params, STACKS, |params| {
        mutex_contended::measure(params, |locker| {
            let mutex = &Mutex::new(0);
            let mut spans = Vec::new();
            coroutine::scope(|scope| {
                let run = move || locker.run(|| mutex.lock().expect("nobody panics"));
                let lockers: Vec<_> = (0..LOCKERS).map(|_| go!(scope, run)).collect();
                spans = lockers.into_iter().map(|one| one.join()).collect();
            });
            (*mutex.lock().expect("nobody panics"), spans)
        })
    })
}

/// As many as there can be.
fn timers(params: &Params) -> Measured {
    in_coroutine(params, JOBS, |params| {
        timers::measure_some(params, JOBS, || {
            coroutine::scope(|scope| {
                for _ in 0..JOBS {
                    go!(scope, || coroutine::sleep(timers::NOMINAL));
                }
            });
        })
    })
}

fn switch_many(params: &Params) -> Measured {
    in_coroutine(params, switch_many::FIBERS, |params| {
        let [ns] = medians(params, switch_many::REPEATS, || {
            let [_, turns_ns] = suspend_and_resume(switch_many::FIBERS, switch_many::TURNS, || ());
            [turns_ns / switch_many::TURNS_IN_ALL as f64]
        });
        Measured::one(switch_many::WORKLOAD.metrics[0].name, ns)
    })
}

fn fanout(params: &Params) -> Measured {
    in_coroutine(params, fanout::WAITERS, |params| {
        fanout::measure(params, || suspend_and_resume(fanout::WAITERS, 0, || ()))
    })
}

fn fanout_sizes(params: &Params) -> Measured {
    in_coroutine(params, fanout::WAITERS, |params| {
        fanout_sizes::measure_up_to(params, fanout::WAITERS, |waiters| suspend_and_resume(waiters, 0, || ()))
    })
}

/// Lets `count` coroutines wait for a flag, raises it, and lets them yield so many times. Returns, in nanoseconds,
/// how long it took until the last one was about to wait, and from then until all had ended.
fn suspend_and_resume(count: usize, turns: usize, at_peak: impl FnOnce()) -> [f64; 2] {
    struct Shared {
        gate: SyncFlag,
        started: Countdown,
        ended: Countdown,
    }
    let shared = Arc::new(Shared {
        gate: SyncFlag::new(),
        started: Countdown::new(count),
        ended: Countdown::new(count),
    });
    let begin = Instant::now();
    for _ in 0..count {
        let shared = Arc::clone(&shared);
        go!(move || {
            shared.started.count_down();
            shared.gate.wait();
            for _ in 0..turns {
                coroutine::yield_now();
            }
            shared.ended.count_down();
        });
    }
    shared.started.zero.wait();
    let suspended = Instant::now();
    at_peak();
    let signalled = Instant::now();
    shared.gate.fire();
    shared.ended.zero.wait();
    [(suspended - begin).as_nanos() as f64, signalled.elapsed().as_nanos() as f64]
}

fn memory_fibers(params: &Params) -> Measured {
    may::config().set_stack_size(memory_fibers::STACK_BYTES / size_of::<usize>());
    in_coroutine(params, STACKS, |params| {
        memory_fibers::measure(params, |count, at_peak| suspend_and_resume(count, 0, at_peak))
    })
}

/// A chain of so many coroutines; the last one raises a flag.
fn run_chain(edges: usize) {
    fn link(left: usize, ended: Arc<SyncFlag>) {
        if left > 0 {
            go!(move || link(left - 1, ended));
        } else {
            ended.fire();
        }
    }
    let ended = Arc::new(SyncFlag::new());
    link(edges, Arc::clone(&ended));
    ended.wait();
}

fn chain(params: &Params) -> Measured {
    in_coroutine(params, STACKS, |params| chain::measure_some(params, JOBS, || run_chain(JOBS)))
}

fn chain_sizes(params: &Params) -> Measured {
    in_coroutine(params, STACKS, |params| chain_sizes::measure(params, run_chain))
}

/// A tree with so many levels below its root.
fn run_tree(depth: u32) {
    fn node(depth: u32, ended: Arc<Countdown>) {
        if depth > 0 {
            for _ in 0..2 {
                let ended = Arc::clone(&ended);
                go!(move || node(depth - 1, ended));
            }
        }
        ended.count_down();
    }
    let ended = Arc::new(Countdown::new((1 << (depth + 1)) - 1));
    let root_ended = Arc::clone(&ended);
    go!(move || node(depth, root_ended));
    ended.zero.wait();
}

fn tree(params: &Params) -> Measured {
    in_coroutine(params, 1 << DEPTH, |params| tree::measure_some(params, DEPTH, || run_tree(DEPTH)))
}

fn tree_sizes(params: &Params) -> Measured {
    in_coroutine(params, TREE_MAX, |params| tree_sizes::measure_up_to(params, TREE_MAX, run_tree))
}

/// There are no dependencies between coroutines: the last of a block's predecessors spawns it.
fn wavefront(params: &Params) -> Measured {
    struct Wave {
        grid: Arc<Grid>,
        ended: Countdown,
    }
    fn run(wave: Arc<Wave>, block: usize) {
        wave.grid.compute(block);
        for next in wave.grid.finish(block).into_iter().flatten() {
            let wave = Arc::clone(&wave);
            go!(move || run(wave, next));
        }
        wave.ended.count_down();
    }
    in_coroutine(params, STACKS, |params| {
        let wave = |grid: &Arc<Grid>| {
            let wave = Arc::new(Wave { grid: Arc::clone(grid), ended: Countdown::new(grid.len()) });
            run(Arc::clone(&wave), 0);
            wave.ended.zero.wait();
        };
        wavefront::measure(params, &[("coroutines", &wave)])
    })
}

/// A coroutine for each chunk.
struct Loops;

impl sand::Loops for Loops {
    fn chunks<T: Sync>(&self, items: &[T], size: usize, body: impl Fn(usize, &[T]) + Send + Sync) {
        let body = &body;
        coroutine::scope(|scope| {
            for (index, chunk) in items.chunks(size).enumerate() {
                go!(scope, move || body(index, chunk));
            }
        });
    }

    fn chunks_mut<T: Send>(&self, items: &mut [T], size: usize, body: impl Fn(usize, &mut [T]) + Send + Sync) {
        let body = &body;
        coroutine::scope(|scope| {
            for (index, chunk) in items.chunks_mut(size).enumerate() {
                go!(scope, move || body(index, chunk));
            }
        });
    }
}

/// There are no loops: a scope has a coroutine for each part.
fn par_for(params: &Params) -> Measured {
    in_coroutine(params, STACKS, |params| {
        let workers = params.workers;
        let chunks = |a, x: &[f32], y: &mut [f32], size: usize| {
            let body = |index: usize, y: &mut [f32]| par_for::saxpy(a, &x[index * size..][..y.len()], y);
            sand::Loops::chunks_mut(&Loops, y, size, body);
        };
        let parts = |n: usize, size: usize| {
            coroutine::scope(|scope| {
                for begin in (0..n).step_by(size) {
                    go!(scope, move || (begin..n.min(begin + size)).for_each(par_for::item));
                }
            });
        };
        par_for::measure(
            params,
            &[
                ("scope, n/workers", &|a, x, y| chunks(a, x, y, x.len().div_ceil(workers))),
                ("scope, n/(4 workers)", &|a, x, y| chunks(a, x, y, x.len().div_ceil(4 * workers))),
            ],
            &[("scope, n/(8 workers)", &|n| parts(n, n.div_ceil(8 * workers)))],
        )
    })
}

fn mandelbrot(params: &Params) -> Measured {
    in_coroutine(params, STACKS, |params| mandelbrot::measure(params, &Loops))
}

fn sand(params: &Params) -> Measured {
    in_coroutine(params, STACKS, |params| sand::measure(params, &Loops))
}

fn outside(params: &Params) -> Measured {
    set_up(params, STACKS);
    let submit = |probe: outside::Probe| drop(go!(move || probe.start()));
    outside::measure(params, submit, submit)
}

fn idle(params: &Params) -> Measured {
    in_coroutine(params, STACKS, |_| ());
    idle::measure()
}

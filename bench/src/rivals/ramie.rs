//! ramie itself, through its public API, with its defaults apart from the number of workers.

use std::{
    hint::black_box,
    sync::{
        Barrier,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use ramie::{
    Counter, Drain, FrameArenas, JobSystem, Pinning, Priority, Scope,
    sync::{Event, Mutex, channel},
};

use super::{Kind, Rival};
use crate::{
    cell::Measured,
    fork::ForkJoin,
    measure::{medians, time_ns},
    params::Params,
    workloads::{
        batches, block_on_ready, chain, chain_sizes, channel_ping_pong, event_ping_pong, fanout, fanout_sizes, fib, flat_batch, flat_spawn, flat_spawn_sizes,
        frame,
        frame_beside_background::{self, WHOLE_PIECE},
        frame_beside_low::{self, BARRIERS, FrameJob, JOBS, SPLIT_PIECE},
        idle, imbalanced, integrate, jobs_200ns,
        latency::{self, Piece, Probe, Urgency},
        mandelbrot, matmul, memory_fibers, memory_frames, memory_jobs,
        mutex_contended::{self, LOCKERS},
        mutex_ping_pong::{self, MUTEXES},
        mutex_uncontended, never_waits, npb, nqueens,
        oneshot_across::{self, Letter, Rendezvous},
        outside,
        par_for, par_for_sizes,
        producers::{self, CAPACITY, ITEMS, PRODUCERS},
        quicksort, sand,
        skynet::{self, Share},
        start_stop, switch, switch_many, timers,
        thief_latency::{self, Meeting},
        transforms, tree, tree_sizes, uts, wake_storm,
        wavefront::{self, Grid},
        yields,
    },
};

pub(crate) static RIVAL: Rival = Rival {
    name: "ramie",
    about: "fibers on a few worker threads",
    kind: Kind::System,
    package: Some("ramie"),
    workers_max: None,
    cells: &[
        (&fib::WORKLOAD, fib),
        (&integrate::WORKLOAD, |params| by_join(params, integrate::measure::<Join>)),
        (&nqueens::WORKLOAD, |params| by_join(params, nqueens::measure::<Join>)),
        (&uts::WORKLOAD, uts),
        (&quicksort::WORKLOAD, |params| by_join(params, quicksort::measure::<Join>)),
        (&matmul::WORKLOAD, |params| by_join(params, matmul::measure::<Join>)),
        (&skynet::WORKLOAD, skynet),
        (&flat_spawn::WORKLOAD, flat_spawn),
        (&flat_spawn_sizes::WORKLOAD, flat_spawn_sizes),
        (&flat_batch::WORKLOAD, flat_batch),
        (&jobs_200ns::WORKLOAD, jobs_200ns),
        (&memory_jobs::WORKLOAD, memory_jobs),
        (&never_waits::WORKLOAD, never_waits),
        (&switch::WORKLOAD, switch),
        (&switch_many::WORKLOAD, switch_many),
        (&yields::WORKLOAD, yields),
        (&event_ping_pong::WORKLOAD, event_ping_pong),
        (&mutex_ping_pong::WORKLOAD, mutex_ping_pong),
        (&mutex_uncontended::WORKLOAD, mutex_uncontended),
        (&mutex_contended::WORKLOAD, mutex_contended),
        (&channel_ping_pong::WORKLOAD, channel_ping_pong),
        (&block_on_ready::WORKLOAD, block_on_ready),
        (&oneshot_across::WORKLOAD, oneshot_across),
        (&timers::WORKLOAD, timers),
        (&producers::WORKLOAD, producers),
        (&fanout::WORKLOAD, fanout),
        (&fanout_sizes::WORKLOAD, fanout_sizes),
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
        (&frame_beside_background::WORKLOAD, frame_beside_background),
        (&memory_fibers::WORKLOAD, memory_fibers),
        (&memory_frames::WORKLOAD, memory_frames),
        (&start_stop::WORKLOAD, start_stop),
        (&idle::WORKLOAD, idle),
    ],
};

fn system(workers: usize) -> JobSystem {
    JobSystem::builder().workers(workers).build().expect("the system starts")
}

fn fib(params: &Params) -> Measured {
    fn fib(n: u32) -> u64 {
        if n < 2 {
            return n.into();
        }
        let (left, right) = ramie::join(|| fib(n - 1), || fib(n - 2));
        left + right
    }
    system(params.workers).run(|| fib::measure(params, fib))
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
        ramie::join(|| a(&mut ()), || b(&mut ()))
    }
}

/// Runs a measurement whose recursion all systems share.
fn by_join(params: &Params, measure: fn(&Params, &mut ()) -> Measured) -> Measured {
    system(params.workers).run(|| measure(params, &mut ()))
}

/// The deep tree needs more than the default stack, and gets what a thread of the standard library has.
fn uts(params: &Params) -> Measured {
    let system = JobSystem::builder().workers(params.workers).stack_size(2 << 20).build();
    system.expect("the system starts").run(|| uts::measure::<Join>(params, &mut ()))
}

fn skynet(params: &Params) -> Measured {
    fn in_scope(share: Share) -> u64 {
        if let Some(number) = share.leaf() {
            return number;
        }
        let mut sums = [0; skynet::CHILDREN];
        ramie::scope(|scope| {
            for (index, sum) in sums.iter_mut().enumerate() {
                scope.detach(move || *sum = in_scope(share.child(index)));
            }
        });
        sums.iter().sum()
    }
    system(params.workers).run(|| {
        let by_join = |all| skynet::by_join::<Join>(&mut (), all);
        skynet::measure(params, &[("join", &by_join), ("scope", &in_scope)])
    })
}

fn spawn_flat(jobs: usize) {
    ramie::scope(|scope| {
        for index in 0..jobs {
            scope.detach(move || flat_spawn::empty(index));
        }
    });
}

fn flat_spawn(params: &Params) -> Measured {
    system(params.workers).run(|| flat_spawn::measure(params, || spawn_flat(flat_spawn::JOBS)))
}

fn flat_spawn_sizes(params: &Params) -> Measured {
    system(params.workers).run(|| flat_spawn_sizes::measure(params, spawn_flat))
}

fn jobs_200ns(params: &Params) -> Measured {
    system(params.workers).run(|| {
        jobs_200ns::measure(params, |job| {
            ramie::scope(|scope| (0..jobs_200ns::JOBS).for_each(|_| scope.detach(move || job.run())));
        })
    })
}

fn flat_batch(params: &Params) -> Measured {
    system(params.workers).run(|| {
        flat_batch::measure(params, || {
            ramie::spawn_batch((0..flat_spawn::JOBS).map(|index| move || flat_spawn::empty(index))).wait();
        })
    })
}

fn memory_jobs(params: &Params) -> Measured {
    let measured = memory_jobs::measure::<crate::memory::caches::Caches>(params);
    // So many jobs at once: what is measured lies in caches.
    const MEMBERS: usize = 200;
    system(params.workers).run(|| {
        memory_jobs::measure_jobs(
            params,
            measured,
            || {
                for round in 0..memory_jobs::JOBS / MEMBERS {
                    ramie::scope(|scope| {
                        for index in 0..MEMBERS {
                            let captures = memory_jobs::captures(round + index);
                            scope.detach(move || memory_jobs::body(&captures));
                        }
                    });
                }
            },
            || {
                for round in 0..memory_jobs::JOBS / MEMBERS {
                    ramie::scope(|scope| {
                        for index in 0..MEMBERS {
                            let captures = memory_jobs::captures(round + index);
                            let boxed: Box<dyn FnOnce() + Send> =
                                Box::new(move || memory_jobs::body(&captures));
                            scope.detach(boxed);
                        }
                    });
                }
            },
        )
    })
}

fn never_waits(params: &Params) -> Measured {
    let system = system(params.workers);
    system.run(|| {
        never_waits::measure(params, || {
            let ended = Counter::new(0);
            for index in 0..flat_spawn::JOBS {
                system.job().counter(&ended).detach(move || flat_spawn::empty(index));
            }
            ended.wait();
        })
    })
}

/// Two jobs, each with a counter of its own: wait for it, re-arm it, signal the other's.
fn switch(params: &Params) -> Measured {
    let rounds = switch::PASSES / 2;
    system(params.workers).run(|| {
        switch::measure(params, || {
            let (ping, pong) = (Counter::new(1), Counter::new(1));
            let pass = |mine: &Counter, other: &Counter| {
                for _ in 0..rounds {
                    mine.wait();
                    mine.add(1);
                    other.signal();
                }
            };
            ramie::scope(|scope| {
                scope.detach(|| pass(&ping, &pong));
                scope.detach(|| pass(&pong, &ping));
                ping.signal();
            });
        })
    })
}

fn switch_many(params: &Params) -> Measured {
    system(params.workers).run(|| {
        let [ns] = medians(params, switch_many::REPEATS, || {
            let take_turns = || {
                for _ in 0..switch_many::TURNS {
                    ramie::yield_now();
                }
            };
            let [_, turns_ns] = suspend_and_resume(switch_many::FIBERS, take_turns, || ());
            [turns_ns / switch_many::TURNS_IN_ALL as f64]
        });
        Measured::one(switch_many::WORKLOAD.metrics[0].name, ns)
    })
}

fn fanout(params: &Params) -> Measured {
    system(params.workers)
        .run(|| fanout::measure(params, || suspend_and_resume(fanout::WAITERS, || (), || ())))
}

fn fanout_sizes(params: &Params) -> Measured {
    system(params.workers)
        .run(|| fanout_sizes::measure(params, |waiters| suspend_and_resume(waiters, || (), || ())))
}

fn memory_fibers(params: &Params) -> Measured {
    let system = JobSystem::builder().workers(params.workers).stack_size(memory_fibers::STACK_BYTES);
    let system = system.build().expect("the system starts");
    memory_fibers::measure(params, |count, at_peak| system.run(|| suspend_and_resume(count, || (), at_peak)))
}

/// Lets `count` jobs wait for a counter, calls `at_peak`, signals it, and lets them do `then`. Returns, in nanoseconds, how long
/// it took until the last one was about to wait, and from the signal until all had ended.
fn suspend_and_resume(count: usize, then: fn(), at_peak: impl FnOnce()) -> [f64; 2] {
    let (gate, all_started, started) = (Counter::new(1), Counter::new(1), AtomicUsize::new(0));
    let begin = Instant::now();
    let mut signalled = begin;
    let mut pause = Duration::ZERO;
    ramie::scope(|scope| {
        for _ in 0..count {
            scope.detach(|| {
                if started.fetch_add(1, Ordering::Relaxed) + 1 == count {
                    all_started.signal();
                }
                gate.wait();
                then();
            });
        }
        all_started.wait();
        let suspended = Instant::now();
        at_peak();
        pause = suspended.elapsed();
        signalled = Instant::now();
        gate.signal();
    });
    [(signalled - begin - pause).as_nanos() as f64, signalled.elapsed().as_nanos() as f64]
}

fn link<'scope>(scope: &'scope Scope<'scope, '_>, left: usize) {
    if left > 0 {
        scope.detach(move || link(scope, left - 1));
    }
}

fn chain(params: &Params) -> Measured {
    system(params.workers).run(|| chain::measure(params, || ramie::scope(|scope| link(scope, chain::EDGES))))
}

fn chain_sizes(params: &Params) -> Measured {
    system(params.workers)
        .run(|| chain_sizes::measure(params, |jobs| ramie::scope(|scope| link(scope, jobs))))
}

fn node<'scope>(scope: &'scope Scope<'scope, '_>, depth: u32) {
    if depth > 0 {
        scope.detach(move || node(scope, depth - 1));
        scope.detach(move || node(scope, depth - 1));
    }
}

fn run_tree(depth: u32) {
    ramie::scope(|scope| {
        scope.detach(move || node(scope, depth));
    });
}

fn tree(params: &Params) -> Measured {
    system(params.workers).run(|| tree::measure(params, || run_tree(tree::DEPTH)))
}

fn tree_sizes(params: &Params) -> Measured {
    system(params.workers).run(|| tree_sizes::measure(params, run_tree))
}

/// All blocks are submitted at once, each after the counters of its predecessors; or the last of a block's
/// predecessors spawns it.
fn wavefront(params: &Params) -> Measured {
    fn with_counters(grid: &Grid) {
        let ended: Vec<Counter> = (0..grid.len()).map(|_| Counter::new(0)).collect();
        ramie::scope(|scope| {
            for block in 0..grid.len() {
                let before = grid.predecessors(block).into_iter().flatten();
                let job = before.fold(scope.job(), |job, before| job.after(&ended[before]));
                job.counter(&ended[block]).detach(move || grid.compute(block));
            }
        });
    }
    fn run<'scope>(scope: &'scope Scope<'scope, '_>, grid: &'scope Grid, block: usize) {
        grid.compute(block);
        for next in grid.finish(block).into_iter().flatten() {
            scope.detach(move || run(scope, grid, next));
        }
    }
    system(params.workers).run(|| {
        wavefront::measure(
            params,
            &[
                ("counters", &|grid| with_counters(grid)),
                ("scope", &|grid| ramie::scope(|scope| run(scope, grid, 0))),
            ],
        )
    })
}

fn par_for(params: &Params) -> Measured {
    system(params.workers).run(|| {
        with_saxpy_forms(params.workers, |saxpy| {
            par_for::measure(
                params,
                saxpy,
                &[
                    ("par", &|n| ramie::par(0..n).for_each(par_for::item)),
                    ("par, grain 16", &|n| ramie::par(0..n).grain(16).for_each(par_for::item)),
                ],
            )
        })
    })
}

fn par_for_sizes(params: &Params) -> Measured {
    system(params.workers).run(|| {
        with_saxpy_forms(params.workers, |saxpy| {
            par_for_sizes::measure(
                params,
                saxpy,
                &[
                    ("par", &|values| ramie::par(values).for_each(par_for_sizes::heavy)),
                    ("par, grain 1", &|values| {
                        ramie::par(values).grain(1).for_each(par_for_sizes::heavy);
                    }),
                ],
            )
        })
    })
}

/// Hands over the forms of the saxpy loop.
fn with_saxpy_forms<R>(workers: usize, measure: impl FnOnce(&[par_for::SaxpyForm<'_>]) -> R) -> R {
    let chunks = |a, x: &[f32], y: &mut [f32], size: usize| {
        ramie::par_chunks_mut(y, size)
            .for_each(|(index, y)| par_for::saxpy(a, &x[index * size..][..y.len()], y));
    };
    measure(&[
        ("par_chunks_mut 1024", &|a, x, y| chunks(a, x, y, 1024)),
        ("par_chunks_mut 4096", &|a, x, y| chunks(a, x, y, 4096)),
        ("par_chunks_mut n/workers", &|a, x, y| chunks(a, x, y, x.len().div_ceil(workers))),
        ("par_chunks_mut n/(4 workers)", &|a, x, y| chunks(a, x, y, x.len().div_ceil(4 * workers))),
    ])
}

/// Its loops over chunks.
struct Loops;

impl sand::Loops for Loops {
    fn chunks<T: Sync>(&self, items: &[T], size: usize, body: impl Fn(usize, &[T]) + Send + Sync) {
        ramie::par_chunks(items, size).for_each(|(index, chunk)| body(index, chunk));
    }

    fn chunks_mut<T: Send>(
        &self,
        items: &mut [T],
        size: usize,
        body: impl Fn(usize, &mut [T]) + Send + Sync,
    ) {
        ramie::par_chunks_mut(items, size).for_each(|(index, chunk)| body(index, chunk));
    }
}

fn sand(params: &Params) -> Measured {
    system(params.workers).run(|| sand::measure(params, &Loops))
}

fn npb(params: &Params) -> Measured {
    system(params.workers).run(|| npb::measure(params, &Loops))
}

fn batches(params: &Params) -> Measured {
    let scope = |jobs| {
        ramie::scope(|scope| {
            (0..jobs).for_each(|index| scope.detach(move || flat_spawn::empty(index)));
        });
    };
    let batch = |jobs| ramie::spawn_batch((0..jobs).map(|index| move || flat_spawn::empty(index))).wait();
    system(params.workers).run(|| {
        batches::measure(
            params,
            &[
                ("scope", &|jobs, batches| (0..batches).for_each(|_| scope(jobs))),
                ("spawn_batch", &|jobs, batches| (0..batches).for_each(|_| batch(jobs))),
            ],
        )
    })
}

fn mandelbrot(params: &Params) -> Measured {
    system(params.workers).run(|| mandelbrot::measure(params, &Loops))
}

fn imbalanced(params: &Params) -> Measured {
    const JOBS: usize = imbalanced::JOBS;
    system(params.workers).run(|| {
        imbalanced::measure(
            params,
            &[
                ("scope", &|jobs| {
                    ramie::scope(|scope| {
                        (0..JOBS).for_each(|index| scope.detach(move || jobs.run(index)));
                    });
                }),
                ("spawn_batch", &|jobs| {
                    ramie::spawn_batch((0..JOBS).map(|index| move || jobs.run(index))).wait()
                }),
                ("par, grain 1", &|jobs| ramie::par(0..JOBS).grain(1).for_each(|index| jobs.run(index))),
            ],
        )
    })
}

fn transforms(params: &Params) -> Measured {
    fn visit<'scope>(scope: &'scope Scope<'scope, '_>, node: transforms::Node<'scope>) {
        node.visit(|child| scope.detach(move || visit(scope, child)));
    }
    system(params.workers)
        .run(|| transforms::measure(params, |root| ramie::scope(|scope| visit(scope, root))))
}

/// Two jobs that yield to each other.
fn yields(params: &Params) -> Measured {
    system(params.workers).run(|| {
        yields::measure(params, || {
            ramie::scope(|scope| {
                for _ in 0..2 {
                    scope.detach(|| (0..yields::TURNS).for_each(|_| ramie::yield_now()));
                }
            });
        })
    })
}

/// Two jobs, each with an event of its own that is reset by the one it lets through.
fn event_ping_pong(params: &Params) -> Measured {
    const PASSES: u64 = event_ping_pong::PASSES;
    let pass = |mine: &Event, other: &Event| {
        for _ in 0..PASSES / 2 {
            mine.wait();
            other.set();
        }
    };
    let round = || {
        let (ping, pong) = (Event::auto(), Event::auto());
        ramie::scope(|scope| {
            scope.detach(|| pass(&ping, &pong));
            scope.detach(|| pass(&pong, &ping));
            ping.set();
        });
    };
    system(params.workers).run(|| event_ping_pong::measure(params, PASSES, &[("Event", &round)]))
}

fn mutex_ping_pong(params: &Params) -> Measured {
    system(params.workers).run(|| {
        mutex_ping_pong::measure(params, || {
            let circle: [Mutex<u64>; MUTEXES] = Default::default();
            let ready = [Event::auto(), Event::auto()];
            // Each holds a mutex before either wants the next.
            let walk = |position: usize| {
                let held = circle[position].lock();
                ready[1 - position].set();
                ready[position].wait();
                mutex_ping_pong::walk(position, held, mutex_ping_pong::LOCKS, |next| circle[next].lock());
            };
            ramie::scope(|scope| {
                scope.detach(|| walk(0));
                scope.detach(|| walk(1));
            });
            circle.into_iter().map(Mutex::into_inner).sum()
        })
    })
}

fn mutex_uncontended(params: &Params) -> Measured {
    system(params.workers).run(|| {
        mutex_uncontended::measure(params, || {
            let mutex = Mutex::new(0);
            mutex_uncontended::round(&mutex, Mutex::lock);
            mutex.into_inner()
        })
    })
}

fn mutex_contended(params: &Params) -> Measured {
    system(params.workers).run(|| {
        mutex_contended::measure(params, |locker| {
            let mutex = Mutex::new(0);
            let spans = ramie::scope(|scope| {
                let start = |_| scope.spawn(|| locker.run(|| mutex.lock()));
                let lockers: Vec<_> = (0..LOCKERS).map(start).collect();
                lockers.into_iter().map(|one| one.join().expect("no job panics")).collect()
            });
            (mutex.into_inner(), spans)
        })
    })
}

fn channel_ping_pong(params: &Params) -> Measured {
    use channel_ping_pong::{PASSES, ping, pong};
    let round = || {
        let ((to, there), (fro, back)) = (channel::bounded(1), channel::bounded(1));
        let send = |sender: &channel::Sender<u64>, number| sender.send(number).expect("the other waits for it");
        let receive = |receiver: &channel::Receiver<u64>| receiver.recv().expect("the other sends it");
        ramie::scope(|scope| {
            scope.detach(move || ping(PASSES, |number| send(&to, number), || receive(&back)));
            scope.detach(move || pong(PASSES, || receive(&there), |number| send(&fro, number)));
        });
    };
    system(params.workers).run(|| channel_ping_pong::measure(params, PASSES, &[("channel", &round)]))
}

fn block_on_ready(params: &Params) -> Measured {
    system(params.workers).run(|| block_on_ready::measure(params, |future| ramie::block_on(future)))
}

fn oneshot_across(params: &Params) -> Measured {
    use oneshot_across::PASSES;
    type Sender = channel::OneshotSender<Letter<Reply>>;
    struct Reply(Sender);
    /// Sends a message with this number, and so on by turns; returns the number of the last one.
    fn play(mut number: u64, mut to: Sender) -> u64 {
        loop {
            let (reply, answer) = channel::oneshot();
            assert!(to.send(Letter { number, reply: Reply(reply) }).is_ok(), "the other waits for it");
            if number + 1 == PASSES {
                return number;
            }
            let letter: Letter<Reply> = answer.recv().expect("the other answers");
            if letter.number + 1 == PASSES {
                return letter.number;
            }
            (number, to) = (letter.number + 1, letter.reply.0);
        }
    }
    let system = system(params.workers);
    let round = || {
        let meeting = &Rendezvous::default();
        let (first, letter) = channel::oneshot();
        system.scope(|scope| {
            scope.detach(move || {
                meeting.arrive();
                play(0, first);
            });
            let other = scope.spawn(move || {
                meeting.arrive();
                let letter: Letter<Reply> = letter.recv().expect("the other sends it");
                play(letter.number + 1, letter.reply.0)
            });
            other.join().expect("no job panics")
        })
    };
    let send = |sender: channel::OneshotSender<Instant>, now| sender.send(now).expect("the job waits for it");
    let start = |receivers: Vec<channel::OneshotReceiver<Instant>>| {
        let receive = |receiver: channel::OneshotReceiver<Instant>| receiver.recv().expect("it is sent").elapsed();
        let job = system.spawn(move || receivers.into_iter().map(receive).collect::<Vec<Duration>>());
        || job.join().expect("no job panics")
    };
    oneshot_across::measure(params, round, channel::oneshot, send, start)
}

fn timers(params: &Params) -> Measured {
    let system = system(params.workers);
    timers::measure(params, || {
        system.run(|| {
            ramie::scope(|scope| {
                (0..timers::SLEEPS).for_each(|_| scope.detach(|| ramie::sleep(timers::NOMINAL)));
            });
        });
    })
}

/// A queue of one producer and one consumer, made of what is there: one counter counts the items in it, for which the
/// producer waits, and one the free slots, for which the consumer does. A counter wakes those who wait for it to fall.
struct Queue {
    slots: [AtomicU64; CAPACITY],
    /// Added to by the producer before it fills a slot, signalled by the consumer when it has emptied one.
    used: Counter,
    /// The other way round.
    free: Counter,
}

impl Queue {
    fn new() -> Queue {
        let slots = std::array::from_fn(|_| AtomicU64::new(0));
        Queue { slots, used: Counter::new(0), free: Counter::new(CAPACITY) }
    }

    fn slot(&self, index: u64) -> &AtomicU64 {
        &self.slots[index as usize % CAPACITY]
    }

    fn produce(&self) {
        for item in 0..ITEMS {
            self.used.wait_until(CAPACITY - 1);
            self.used.add(1);
            // ORDERING: what follows is what the other side waits for.
            self.slot(item).store(item, Ordering::Relaxed);
            self.free.signal();
        }
    }

    fn consume(&self) -> u64 {
        let take = |index| {
            self.free.wait_until(CAPACITY - 1);
            self.free.add(1);
            // ORDERING: as in `produce`.
            let item = self.slot(index).load(Ordering::Relaxed);
            self.used.signal();
            item
        };
        (0..ITEMS).map(take).sum()
    }
}

/// Counters wake all who wait: a queue that several share needs more than two of them.
fn producers(params: &Params) -> Measured {
    system(params.workers).run(|| {
        let each = || {
            let queues: Vec<Queue> = (0..PRODUCERS).map(|_| Queue::new()).collect();
            ramie::scope(|scope| {
                let start = |queue| {
                    scope.detach(move || Queue::produce(queue));
                    scope.spawn(move || Queue::consume(queue))
                };
                let consumers: Vec<_> = queues.iter().map(start).collect();
                let sums = consumers.into_iter().map(|consumer| consumer.join().expect("no job panics"));
                sums.sum()
            })
        };
        producers::measure(params, &producers::Rounds { each: Some(&each), shared: None })
    })
}

fn outside(params: &Params) -> Measured {
    let system = system(params.workers);
    let submit = |probe: outside::Probe| system.job().detach(move || probe.start());
    outside::measure(params, submit, submit)
}

fn latency(params: &Params) -> Measured {
    struct Ramie(JobSystem);
    impl latency::System for Ramie {
        fn submit_piece(&self, piece: Piece<Ramie>) {
            let priority = match piece.urgency() {
                Urgency::Normal => Priority::Normal,
                Urgency::Low => Priority::Low,
            };
            self.0.job().priority(priority).detach(move || piece.run());
        }

        fn submit_probe(&self, probe: Probe) {
            self.0.job().priority(Priority::High).detach(move || probe.run());
        }
    }
    latency::measure(params, Ramie(system(params.workers)))
}

fn wake_storm(params: &Params) -> Measured {
    let system = system(params.workers);
    wake_storm::measure(params, |drops| drops.for_each(|drop| system.job().detach(move || drop.run())))
}

fn thief_latency(params: &Params) -> Measured {
    fn descend(meeting: &Meeting, depth: u32) {
        match depth {
            0 => meeting.work(),
            _ => _ = ramie::join(|| descend(meeting, depth - 1), || meeting.start()),
        }
    }
    let spawner = |meeting: &'static Meeting| {
        meeting.begin();
        ramie::scope(|scope| {
            scope.detach(|| meeting.start());
            meeting.work();
        });
        meeting.end();
    };
    let joiner = |meeting: &'static Meeting| {
        meeting.begin();
        descend(meeting, thief_latency::DEPTH);
        meeting.end();
    };
    let system = system(params.workers);
    thief_latency::measure(
        params,
        &thief_latency::Submit {
            thief: &|meeting| system.job().detach(move || meeting.occupy()),
            spawner: Some(&|meeting| system.job().detach(move || spawner(meeting))),
            joiner: Some(&|meeting| system.job().detach(move || joiner(meeting))),
        },
    )
}

fn frame(params: &Params) -> Measured {
    system(params.workers).run(|| {
        frame::measure(params, |job| {
            for _ in 0..frame::BARRIERS {
                ramie::scope(|scope| (0..frame::JOBS).for_each(|_| scope.detach(move || job.run())));
            }
        })
    })
}

/// Frames are High, the background loops Low; a loop lets frames go first after each piece. A loop stays on the worker
/// that started it, which may be the same for several: with more loops than workers none goes without for long.
fn frame_beside_low(params: &Params) -> Measured {
    const LOOPS_PER_WORKER: usize = 2;
    // Of more workers than CPUs, those that find none are not pinned.
    let builder = JobSystem::builder().workers(params.workers).pinning(Pinning::Linear).pinning_best_effort();
    let system = builder.build().expect("the system starts");
    frame_beside_low::measure(
        params,
        SPLIT_PIECE,
        |job| urgent_frame(&system, job),
        |background| {
            for _ in 0..LOOPS_PER_WORKER * params.workers {
                let one = background.new_loop();
                let make_way = || _ = ramie::yield_if_urgent();
                system.job().priority(Priority::Low).detach(move || one.run(make_way));
            }
        },
    )
}

fn urgent_frame(system: &JobSystem, job: FrameJob) {
    let frame = move || {
        for _ in 0..BARRIERS {
            ramie::scope(|scope| (0..JOBS).for_each(|_| scope.detach(move || job.run())));
        }
    };
    system.job().priority(Priority::High).spawn(frame).join().expect("no job panics");
}

/// Frames are High, the loops Background, on a thread for each worker.
fn frame_beside_background(params: &Params) -> Measured {
    let builder = JobSystem::builder().workers(params.workers).pinning(Pinning::Linear).pinning_best_effort();
    let system = builder.background_threads(params.workers).build().expect("the system starts");
    let background = system.stats().background;
    assert_eq!(background.fallback, None, "then what is measured is something else");
    frame_beside_low::measure(
        params,
        WHOLE_PIECE,
        |job| urgent_frame(&system, job),
        |background| {
            for _ in 0..params.workers {
                let one = background.new_loop();
                system.job().priority(Priority::Background).detach(move || one.run(|| ()));
            }
        },
    )
}

/// The system is stopped by `shutdown`, which returns when its threads have ended.
fn memory_frames(params: &Params) -> Measured {
    let system = system(params.workers);
    let arenas = FrameArenas::new(&system, 1).expect("the number is in range");
    memory_frames::measure(params, || {
        let frame = arenas.begin();
        let barrier = Barrier::new(params.workers);
        let times = system.broadcast(|| {
            memory_frames::timed(&barrier, || {
                for index in 0..memory_frames::VALUES {
                    black_box(frame.alloc(memory_frames::value(index)));
                }
            })
        });
        memory_frames::slowest(times) + time_ns(|| drop(frame))
    })
}

fn start_stop(params: &Params) -> Measured {
    start_stop::measure(
        params,
        || {
            let system = system(params.workers);
            system.run(|| ());
            system
        },
        |system| {
            system.shutdown(Drain::Finish).expect("nobody else stops it");
        },
    )
}

fn idle(params: &Params) -> Measured {
    let system = system(params.workers);
    system.run(|| ());
    idle::measure()
}

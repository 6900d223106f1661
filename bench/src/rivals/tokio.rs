//! tokio's runtime with worker threads: tasks that are futures. Rounds run as a task; `Notify` is its event.
//!
//! With one worker, too, the runtime has a thread for it: the one that runs tasks on the calling thread takes
//! about as long.

use std::{
    array,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    runtime::{Builder, Runtime},
    sync::{Mutex, Notify, mpsc, oneshot},
    task::{JoinSet, yield_now},
};

use super::{Kind, Rival};
use crate::{
    cell::Measured,
    measure::medians,
    params::Params,
    workloads::{
        batches, block_on_ready, chain, chain_sizes, channel_ping_pong, event_ping_pong, fanout, fanout_sizes, flat_spawn, flat_spawn_sizes,
        frame::{self, Frames},
        idle, imbalanced,
        jobs_200ns::{self, Job},
        latency::{self, Piece, Probe},
        memory_fibers,
        mutex_contended::{self, LOCKERS},
        mutex_ping_pong, mutex_uncontended, never_waits,
        oneshot_across::{self, Letter, Rendezvous},
        outside,
        producers::{self, CAPACITY, ITEMS, PRODUCERS},
        skynet::{self, Share},
        start_stop, switch, switch_many,
        thief_latency::{self, Meeting},
        timers, tree, tree_sizes, wake_storm,
        wavefront::{self, Grid},
        yields,
    },
};

pub(crate) static RIVAL: Rival = Rival {
    name: "tokio",
    about: "asynchronous tasks on worker threads",
    kind: Kind::System,
    package: Some("tokio"),
    workers_max: None,
    cells: &[
        (&skynet::WORKLOAD, skynet),
        (&flat_spawn::WORKLOAD, flat_spawn),
        (&flat_spawn_sizes::WORKLOAD, flat_spawn_sizes),
        (&jobs_200ns::WORKLOAD, jobs_200ns),
        (&never_waits::WORKLOAD, never_waits),
        (&switch::WORKLOAD, switch),
        (&switch_many::WORKLOAD, switch_many),
        (&yields::WORKLOAD, yields),
        // A `Notify` is its event: it keeps one permit.
        (&event_ping_pong::WORKLOAD, switch),
        (&mutex_ping_pong::WORKLOAD, mutex_ping_pong),
        (&channel_ping_pong::WORKLOAD, channel_ping_pong),
        (&mutex_uncontended::WORKLOAD, mutex_uncontended),
        (&mutex_contended::WORKLOAD, mutex_contended),
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
        (&tree_sizes::WORKLOAD, tree_sizes),
        (&wavefront::WORKLOAD, wavefront),
        (&outside::WORKLOAD, outside),
        (&wake_storm::WORKLOAD, wake_storm),
        (&thief_latency::WORKLOAD, thief_latency),
        (&latency::WORKLOAD, latency),
        (&frame::WORKLOAD, frame),
        (&memory_fibers::WORKLOAD, memory_fibers),
        (&start_stop::WORKLOAD, start_stop),
        (&idle::WORKLOAD, idle),
    ],
};

fn runtime(workers: usize) -> Runtime {
    Builder::new_multi_thread().worker_threads(workers).enable_all().build().expect("the runtime starts")
}

/// Runs `future` as a task, while the calling thread waits for it.
fn in_task<T: Send + 'static>(runtime: &Runtime, future: impl Future<Output = T> + Send + 'static) -> T {
    runtime.block_on(runtime.spawn(future)).expect("the task does not panic")
}

/// How long `future` takes as a task, in nanoseconds. The way into the runtime and out of it does not count.
fn timed_in_task(runtime: &Runtime, future: impl Future<Output = ()> + Send + 'static) -> f64 {
    in_task(runtime, async {
        let begin = Instant::now();
        future.await;
        begin.elapsed().as_nanos() as f64
    })
}

/// Counts down to zero, for which one task waits.
pub(super) struct Countdown {
    left: AtomicUsize,
    zero: Notify,
}

impl Countdown {
    pub(super) fn new(count: usize) -> Countdown {
        Countdown { left: AtomicUsize::new(count), zero: Notify::new() }
    }

    pub(super) fn count_down(&self) {
        // ORDERING: Release and Acquire make what the others did before visible to the one that is woken.
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.zero.notify_one();
        }
    }

    /// Waits for zero. The permit that `notify_one` leaves behind lets this come too late.
    pub(super) async fn wait(&self) {
        self.zero.notified().await;
    }
}

/// A task awaits the tasks that it has spawned.
fn skynet(params: &Params) -> Measured {
    fn sum(share: Share) -> Pin<Box<dyn Future<Output = u64> + Send>> {
        Box::pin(async move {
            if let Some(number) = share.leaf() {
                return number;
            }
            let children: [_; skynet::CHILDREN] =
                array::from_fn(|index| tokio::spawn(sum(share.child(index))));
            let mut all = 0;
            for child in children {
                all += child.await.expect("the task does not panic");
            }
            all
        })
    }
    let runtime = runtime(params.workers);
    skynet::measure(params, &[("tasks", &|all| in_task(&runtime, sum(all)))])
}

/// Spawns tasks that each run `body` with their index, and awaits them all.
async fn spawn_flat(jobs: usize, body: impl Fn(usize) + Copy + Send + 'static) {
    let spawn = |index| tokio::spawn(async move { body(index) });
    let tasks: Vec<_> = (0..jobs).map(spawn).collect();
    for task in tasks {
        task.await.expect("the task does not panic");
    }
}

fn flat_spawn(params: &Params) -> Measured {
    let runtime = runtime(params.workers);
    flat_spawn::measure(params, || in_task(&runtime, spawn_flat(flat_spawn::JOBS, flat_spawn::empty)))
}

fn flat_spawn_sizes(params: &Params) -> Measured {
    let runtime = runtime(params.workers);
    flat_spawn_sizes::measure_timed(params, |jobs| {
        timed_in_task(&runtime, spawn_flat(jobs, flat_spawn::empty))
    })
}

fn jobs_200ns(params: &Params) -> Measured {
    let runtime = runtime(params.workers);
    jobs_200ns::measure(params, |job: Job| {
        in_task(&runtime, spawn_flat(jobs_200ns::JOBS, move |_| job.run()));
    })
}

fn never_waits(params: &Params) -> Measured {
    let runtime = runtime(params.workers);
    never_waits::measure(params, || {
        in_task(&runtime, async {
            let ended = Arc::new(Countdown::new(flat_spawn::JOBS));
            for index in 0..flat_spawn::JOBS {
                let ended = Arc::clone(&ended);
                tokio::spawn(async move {
                    flat_spawn::empty(index);
                    ended.count_down();
                });
            }
            ended.wait().await;
        });
    })
}

/// Two tasks, each with a notification of its own: wait for it, send the other's.
fn switch(params: &Params) -> Measured {
    async fn pass(mine: Arc<Notify>, other: Arc<Notify>) {
        for _ in 0..switch::PASSES / 2 {
            mine.notified().await;
            other.notify_one();
        }
    }
    let runtime = runtime(params.workers);
    switch::measure(params, || {
        in_task(&runtime, async {
            let (ping, pong) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            let first = tokio::spawn(pass(Arc::clone(&ping), Arc::clone(&pong)));
            let second = tokio::spawn(pass(pong, Arc::clone(&ping)));
            ping.notify_one();
            first.await.expect("the task does not panic");
            second.await.expect("the task does not panic");
        });
    })
}

fn switch_many(params: &Params) -> Measured {
    let runtime = runtime(params.workers);
    let [ns] = medians(params, switch_many::REPEATS, || {
        let round = suspend_and_resume(switch_many::FIBERS, switch_many::TURNS, || ());
        let [_, turns_ns] = in_task(&runtime, round);
        [turns_ns / switch_many::TURNS_IN_ALL as f64]
    });
    Measured::one(switch_many::WORKLOAD.metrics[0].name, ns)
}

fn fanout(params: &Params) -> Measured {
    let runtime = runtime(params.workers);
    fanout::measure(params, || in_task(&runtime, suspend_and_resume(fanout::WAITERS, 0, || ())))
}

fn fanout_sizes(params: &Params) -> Measured {
    let runtime = runtime(params.workers);
    fanout_sizes::measure(params, |waiters| in_task(&runtime, suspend_and_resume(waiters, 0, || ())))
}

/// Lets `count` tasks wait for a notification, sends it to all, and lets them yield so many times. Returns, in
/// nanoseconds, how long it took until the last one was about to wait, and from then until all had ended.
async fn suspend_and_resume(count: usize, turns: usize, at_peak: impl FnOnce()) -> [f64; 2] {
    struct Shared {
        gate: Notify,
        started: Countdown,
        ended: Countdown,
    }
    let shared = Arc::new(Shared {
        gate: Notify::new(),
        started: Countdown::new(count),
        ended: Countdown::new(count),
    });
    let begin = Instant::now();
    for _ in 0..count {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            // From here on the notification reaches this task, whether it waits already or not.
            let opened = shared.gate.notified();
            shared.started.count_down();
            opened.await;
            for _ in 0..turns {
                yield_now().await;
            }
            shared.ended.count_down();
        });
    }
    shared.started.wait().await;
    let suspended = Instant::now();
    at_peak();
    let signalled = Instant::now();
    shared.gate.notify_waiters();
    shared.ended.wait().await;
    [(suspended - begin).as_nanos() as f64, signalled.elapsed().as_nanos() as f64]
}

fn memory_fibers(params: &Params) -> Measured {
    let runtime = runtime(params.workers);
    memory_fibers::measure(params, |count, at_peak| {
        // The tasks' own memory: what the peak is called on does not matter.
        let (sender, peak) = std::sync::mpsc::channel();
        let (resume, resumed) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let measured = scope.spawn(|| {
                in_task(
                    &runtime,
                    suspend_and_resume(count, 0, move || {
                        sender.send(()).expect("somebody listens");
                        resumed.recv().expect("somebody answers");
                    }),
                )
            });
            peak.recv().expect("the tasks suspend");
            at_peak();
            resume.send(()).expect("the task listens");
            measured.join().expect("the tasks end")
        })
    })
}

/// A chain of so many tasks; the last one sends a message.
async fn run_chain(edges: usize) {
    fn link(left: usize, last: oneshot::Sender<()>) {
        if left > 0 {
            tokio::spawn(async move { link(left - 1, last) });
        } else {
            last.send(()).expect("somebody waits for the last one");
        }
    }
    let (sender, last) = oneshot::channel();
    link(edges, sender);
    last.await.expect("the chain has an end");
}

fn chain(params: &Params) -> Measured {
    let runtime = runtime(params.workers);
    chain::measure(params, || in_task(&runtime, run_chain(chain::EDGES)))
}

fn chain_sizes(params: &Params) -> Measured {
    let runtime = runtime(params.workers);
    chain_sizes::measure_timed(params, |jobs| timed_in_task(&runtime, run_chain(jobs)))
}

/// A tree with so many levels below its root.
async fn run_tree(depth: u32) {
    fn node(depth: u32, ended: Arc<Countdown>) {
        if depth > 0 {
            for _ in 0..2 {
                let ended = Arc::clone(&ended);
                tokio::spawn(async move { node(depth - 1, ended) });
            }
        }
        ended.count_down();
    }
    let ended = Arc::new(Countdown::new((1 << (depth + 1)) - 1));
    let root_ended = Arc::clone(&ended);
    tokio::spawn(async move { node(depth, root_ended) });
    ended.wait().await;
}

fn tree(params: &Params) -> Measured {
    let runtime = runtime(params.workers);
    tree::measure(params, || in_task(&runtime, run_tree(tree::DEPTH)))
}

fn tree_sizes(params: &Params) -> Measured {
    let runtime = runtime(params.workers);
    tree_sizes::measure_timed(params, |depth| timed_in_task(&runtime, run_tree(depth)))
}

/// There are no dependencies between tasks: the last of a block's predecessors spawns it.
fn wavefront(params: &Params) -> Measured {
    struct Wave {
        grid: Arc<Grid>,
        ended: Countdown,
    }
    fn run(wave: Arc<Wave>, block: usize) {
        wave.grid.compute(block);
        for next in wave.grid.finish(block).into_iter().flatten() {
            let wave = Arc::clone(&wave);
            tokio::spawn(async move { run(wave, next) });
        }
        wave.ended.count_down();
    }
    let runtime = runtime(params.workers);
    let wave = |grid: &Arc<Grid>| {
        let wave = Arc::new(Wave { grid: Arc::clone(grid), ended: Countdown::new(grid.len()) });
        in_task(&runtime, async move {
            run(Arc::clone(&wave), 0);
            wave.ended.wait().await;
        });
    };
    wavefront::measure(params, &[("tasks", &wave)])
}

/// Spawns tasks, and waits for all of them.
async fn all<T: Send + 'static>(
    tasks: impl Iterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let handles: Vec<_> = tasks.map(tokio::spawn).collect();
    let mut results = Vec::with_capacity(handles.len());
    for handle in handles {
        results.push(handle.await.expect("the task does not panic"));
    }
    results
}

fn batches(params: &Params) -> Measured {
    let runtime = runtime(params.workers);
    let handles = |jobs, batches| {
        in_task(&runtime, async move {
            for _ in 0..batches {
                all((0..jobs).map(|index| async move { flat_spawn::empty(index) })).await;
            }
        });
    };
    let set = |jobs, batches| {
        in_task(&runtime, async move {
            for _ in 0..batches {
                let task = |index| async move { flat_spawn::empty(index) };
                (0..jobs).map(task).collect::<JoinSet<()>>().join_all().await;
            }
        });
    };
    batches::measure(params, &[("handles", &handles), ("JoinSet", &set)])
}

fn imbalanced(params: &Params) -> Measured {
    let runtime = runtime(params.workers);
    let handles = |jobs: &'static imbalanced::Jobs| {
        let tasks = (0..imbalanced::JOBS).map(move |index| async move { jobs.run(index) });
        in_task(&runtime, async move { drop(all(tasks).await) });
    };
    imbalanced::measure(params, &[("handles", &handles)])
}

/// Two tasks that yield to each other.
fn yields(params: &Params) -> Measured {
    async fn take_turns() {
        for _ in 0..yields::TURNS {
            yield_now().await;
        }
    }
    let runtime = runtime(params.workers);
    yields::measure(params, || {
        in_task(&runtime, async { drop(all([take_turns(), take_turns()].into_iter()).await) });
    })
}

fn mutex_ping_pong(params: &Params) -> Measured {
    type Circle = [Mutex<u64>; mutex_ping_pong::MUTEXES];
    /// Locks the mutex at `position`, tells the other, waits until it is told, and goes on.
    async fn walk(circle: Arc<Circle>, mut position: usize, ready: [Arc<Notify>; 2]) {
        let mut held = circle[position].lock().await;
        let [mine, others] = ready;
        others.notify_one();
        mine.notified().await;
        for _ in 0..mutex_ping_pong::LOCKS {
            position = mutex_ping_pong::next(position);
            let mut wanted = circle[position].lock().await;
            *wanted += 1;
            drop(std::mem::replace(&mut held, wanted));
        }
    }
    let runtime = runtime(params.workers);
    mutex_ping_pong::measure(params, || {
        in_task(&runtime, async {
            let circle: Arc<Circle> = Arc::default();
            let [first, second] = [(); 2].map(|()| Arc::new(Notify::new()));
            let walkers = [
                walk(Arc::clone(&circle), 0, [Arc::clone(&first), Arc::clone(&second)]),
                walk(Arc::clone(&circle), 1, [second, first]),
            ];
            all(walkers.into_iter()).await;
            let circle = Arc::into_inner(circle).expect("both have ended");
            circle.map(Mutex::into_inner).iter().sum()
        })
    })
}

fn channel_ping_pong(params: &Params) -> Measured {
    use channel_ping_pong::{PASSES, answer, answered};
    async fn ping(sender: mpsc::Sender<u64>, mut receiver: mpsc::Receiver<u64>) {
        for number in 0..PASSES / 2 {
            sender.send(number).await.expect("the other waits for it");
            answered(number, receiver.recv().await.expect("the other sends it"));
        }
    }
    async fn pong(mut receiver: mpsc::Receiver<u64>, sender: mpsc::Sender<u64>) {
        for _ in 0..PASSES / 2 {
            let number = receiver.recv().await.expect("the other sends it");
            sender.send(answer(number)).await.expect("the other waits for it");
        }
    }
    let runtime = runtime(params.workers);
    let round = || {
        in_task(&runtime, async {
            let ((to, there), (fro, back)) = (mpsc::channel(1), mpsc::channel(1));
            let other = tokio::spawn(pong(there, fro));
            tokio::spawn(ping(to, back)).await.expect("the task does not panic");
            other.await.expect("the task does not panic");
        });
    };
    channel_ping_pong::measure(params, PASSES, &[("mpsc", &round)])
}

/// A task that locks again and again gives way now and then, as tokio has it for all that awaits.
fn mutex_uncontended(params: &Params) -> Measured {
    let runtime = runtime(params.workers);
    mutex_uncontended::measure(params, || {
        in_task(&runtime, async {
            let mutex = Mutex::new(0);
            for _ in 0..mutex_uncontended::LOCKS {
                *std::hint::black_box(&mutex).lock().await += 1;
            }
            mutex.into_inner()
        })
    })
}

fn mutex_contended(params: &Params) -> Measured {
    let runtime = runtime(params.workers);
    mutex_contended::measure(params, |locker| {
        in_task(&runtime, async move {
            let mutex = Arc::new(Mutex::new(0));
            let lockers = (0..LOCKERS).map(|_| {
                let mutex = Arc::clone(&mutex);
                async move {
                    let begin = Instant::now();
                    for _ in 0..locker.locks {
                        locker.inside(&mut *mutex.lock().await);
                        locker.outside();
                    }
                    [begin, Instant::now()]
                }
            });
            let spans = all(lockers).await;
            (Arc::into_inner(mutex).expect("all have ended").into_inner(), spans)
        })
    })
}

/// By a thread outside: tasks may not block.
fn block_on_ready(params: &Params) -> Measured {
    let runtime = runtime(params.workers);
    let handle = runtime.handle();
    block_on_ready::measure(params, |future| handle.block_on(future))
}

fn oneshot_across(params: &Params) -> Measured {
    use oneshot_across::PASSES;
    type Sender = oneshot::Sender<Letter<Reply>>;
    #[derive(Debug)]
    struct Reply(Sender);
    /// Sends a message with this number, and so on by turns; returns the number of the last one.
    async fn play(mut number: u64, mut to: Sender) -> u64 {
        loop {
            let (reply, answer) = oneshot::channel();
            to.send(Letter { number, reply: Reply(reply) }).expect("the other waits for it");
            if number + 1 == PASSES {
                return number;
            }
            let letter: Letter<Reply> = answer.await.expect("the other answers");
            if letter.number + 1 == PASSES {
                return letter.number;
            }
            (number, to) = (letter.number + 1, letter.reply.0);
        }
    }
    let runtime = runtime(params.workers);
    let round = || {
        let meeting = Arc::new(Rendezvous::default());
        let (first, letter) = oneshot::channel();
        let one = runtime.spawn({
            let meeting = Arc::clone(&meeting);
            async move {
                meeting.arrive();
                play(0, first).await
            }
        });
        let other = runtime.spawn(async move {
            meeting.arrive();
            let letter: Letter<Reply> = letter.await.expect("the other sends it");
            play(letter.number + 1, letter.reply.0).await
        });
        runtime.block_on(async {
            one.await.expect("the task does not panic");
            other.await.expect("the task does not panic")
        })
    };
    let send = |sender: oneshot::Sender<Instant>, now| sender.send(now).expect("the task waits for it");
    let start = |receivers: Vec<oneshot::Receiver<Instant>>| {
        let task = runtime.spawn(async {
            let mut times: Vec<Duration> = Vec::new();
            for receiver in receivers {
                times.push(receiver.await.expect("it is sent").elapsed());
            }
            times
        });
        || runtime.block_on(task).expect("the task does not panic")
    };
    oneshot_across::measure(params, round, oneshot::channel, send, start)
}

fn timers(params: &Params) -> Measured {
    let runtime = runtime(params.workers);
    timers::measure(params, || {
        in_task(&runtime, async {
            all((0..timers::SLEEPS).map(|_| tokio::time::sleep(timers::NOMINAL))).await;
        });
    })
}

fn producers(params: &Params) -> Measured {
    async fn produce(sender: mpsc::Sender<u64>) {
        for item in 0..ITEMS {
            sender.send(item).await.expect("the consumer waits for it");
        }
    }
    async fn consume(mut receiver: mpsc::Receiver<u64>) -> u64 {
        let mut sum = 0;
        while let Some(item) = receiver.recv().await {
            sum += item;
        }
        sum
    }
    let runtime = runtime(params.workers);
    let each = || {
        let consumers = (0..PRODUCERS).map(|_| {
            let (sender, receiver) = mpsc::channel(CAPACITY);
            tokio::spawn(produce(sender));
            consume(receiver)
        });
        in_task(&runtime, async { all(consumers).await.into_iter().sum() })
    };
    let shared = || {
        in_task(&runtime, async {
            let (sender, receiver) = mpsc::channel(CAPACITY);
            for _ in 0..PRODUCERS {
                tokio::spawn(produce(sender.clone()));
            }
            drop(sender);
            consume(receiver).await
        })
    };
    producers::measure(params, &producers::Rounds { each: Some(&each), shared: Some(&shared) })
}

fn outside(params: &Params) -> Measured {
    let runtime = runtime(params.workers);
    let submit = |probe: outside::Probe| drop(runtime.spawn(async move { probe.start() }));
    outside::measure(params, submit, submit)
}

/// There are no priorities: urgent jobs and pieces are tasks of the same runtime.
fn latency(params: &Params) -> Measured {
    struct OneRuntime(Runtime);
    impl latency::System for OneRuntime {
        fn submit_piece(&self, piece: Piece<OneRuntime>) {
            self.0.spawn(async move { piece.run() });
        }

        fn submit_probe(&self, probe: Probe) {
            self.0.spawn(async move { probe.run() });
        }
    }
    latency::measure(params, OneRuntime(runtime(params.workers)))
}

fn wake_storm(params: &Params) -> Measured {
    let runtime = runtime(params.workers);
    wake_storm::measure(params, |drops| {
        drops.for_each(|drop| _ = runtime.spawn(async move { drop.run() }));
    })
}

fn thief_latency(params: &Params) -> Measured {
    async fn spawner(meeting: &'static Meeting) {
        meeting.begin();
        let work = tokio::spawn(async { meeting.start() });
        meeting.work();
        work.await.expect("the task does not panic");
        meeting.end();
    }
    let runtime = runtime(params.workers);
    thief_latency::measure(
        params,
        &thief_latency::Submit {
            thief: &|meeting| _ = runtime.spawn(async { meeting.occupy() }),
            spawner: Some(&|meeting| _ = runtime.spawn(spawner(meeting))),
            joiner: None,
        },
    )
}

fn frame(params: &Params) -> Measured {
    let params = *params;
    in_task(&runtime(params.workers), async move {
        let mut frames = Frames::new(&params);
        while frames.begin() {
            for _ in 0..frame::BARRIERS {
                let job = frames.job();
                let tasks: Vec<_> =
                    (0..frame::JOBS).map(|_| tokio::spawn(async move { job.run() })).collect();
                for task in tasks {
                    task.await.expect("the task does not panic");
                }
            }
            frames.end();
        }
        frames.measured()
    })
}

/// Dropping a runtime waits for its threads.
fn start_stop(params: &Params) -> Measured {
    start_stop::measure(
        params,
        || {
            let runtime = runtime(params.workers);
            in_task(&runtime, async {});
            runtime
        },
        drop,
    )
}

fn idle(params: &Params) -> Measured {
    let runtime = runtime(params.workers);
    in_task(&runtime, async {});
    idle::measure()
}

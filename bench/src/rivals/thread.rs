//! Bare OS threads of the standard library: what the kernel charges for waking, starting and stopping one.

use std::{
    hint::spin_loop,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

use super::{Kind, Rival};
use crate::{
    cell::Measured,
    params::Params,
    placement::pin_to_nth_cpu,
    workloads::{
        idle,
        memory_frames::{self, VALUES, Value},
        outside::{self, Probe},
        producers::{self, CAPACITY, ITEMS, PRODUCERS},
        start_stop, yields,
    },
};

pub(crate) static RIVAL: Rival = Rival {
    name: "thread",
    about: "bare OS threads: park and unpark, spawn and join",
    kind: Kind::Reference,
    package: None,
    workers_max: None,
    cells: &[(&memory_frames::WORKLOAD, memory_frames), (&yields::WORKLOAD, yields), (&producers::WORKLOAD, producers), (&outside::WORKLOAD, outside), (&start_stop::WORKLOAD, start_stop), (&idle::WORKLOAD, idle)],
};

fn memory_frames(params: &Params) -> Measured {
    let mut lists: Vec<Vec<Box<Value>>> = (0..params.workers).map(|_| Vec::with_capacity(VALUES)).collect();
    memory_frames::measure(params, || {
        memory_frames::on_threads(&mut lists, |list| {
            list.extend((0..VALUES).map(|index| Box::new(memory_frames::value(index))));
            list.clear();
        })
    })
}

/// Two threads on one CPU.
fn yields(params: &Params) -> Measured {
    yields::measure(params, || {
        thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| {
                    pin_to_nth_cpu(0);
                    (0..yields::TURNS).for_each(|_| thread::yield_now());
                });
            }
        });
    })
}

/// A thread for each producer and each consumer, however many workers were asked for. One queue for all is left out: a
/// round takes seconds.
fn producers(params: &Params) -> Measured {
    fn produce(sender: SyncSender<u64>) {
        (0..ITEMS).for_each(|item| sender.send(item).expect("the consumer waits for it"));
    }
    let each = || {
        thread::scope(|threads| {
            let start = |_| {
                let (sender, receiver) = sync_channel(CAPACITY);
                threads.spawn(|| produce(sender));
                threads.spawn(|| receiver.into_iter().sum::<u64>())
            };
            let consumers: Vec<_> = (0..PRODUCERS).map(start).collect();
            consumers.into_iter().map(|consumer| consumer.join().expect("it does not panic")).sum()
        })
    };
    producers::measure(params, &producers::Rounds { each: Some(&each), shared: None })
}

fn outside(params: &Params) -> Measured {
    let parked = Receiver::start(thread::park);
    // Spinning threads would take the processors away from what is measured first.
    let busy = std::sync::OnceLock::new();
    let measured = outside::measure(
        params,
        |probe| {
            parked.hand_over(probe);
            parked.thread.thread().unpark();
        },
        |probe| busy.get_or_init(|| Receiver::start(spin_loop)).hand_over(probe),
    );
    parked.stop();
    if let Some(busy) = busy.into_inner() {
        busy.stop();
    }
    measured
}

fn start_stop(params: &Params) -> Measured {
    let workers = params.workers;
    start_stop::measure(
        params,
        || {
            let (sender, first) = std::sync::mpsc::channel();
            let threads: Vec<_> = (0..workers)
                .map(|index| {
                    let sender = sender.clone();
                    thread::spawn(move || {
                        if index == 0 {
                            sender.send(()).expect("the starter listens");
                        }
                        thread::park();
                    })
                })
                .collect();
            first.recv().expect("the first thread runs");
            threads
        },
        |threads| {
            for thread in threads {
                thread.thread().unpark();
                thread.join().expect("it does not panic");
            }
        },
    )
}

fn idle(params: &Params) -> Measured {
    let threads: Vec<_> = (0..params.workers).map(|_| Receiver::start(thread::park)).collect();
    let measured = idle::measure();
    threads.into_iter().for_each(Receiver::stop);
    measured
}

/// A thread that starts the probes that it is handed, one at a time.
struct Receiver {
    mailbox: Arc<Mailbox>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Mailbox {
    /// Set by the sender after it has filled `probe`, cleared by the receiver before it starts the probe.
    full: AtomicBool,
    /// Set once by the owner of the receiver.
    stop: AtomicBool,
    probe: Mutex<Option<Probe>>,
}

impl Receiver {
    /// Starts the thread, which calls `pause` again and again while its mailbox is empty.
    fn start(pause: fn()) -> Receiver {
        let mailbox = Arc::new(Mailbox::default());
        let thread = thread::spawn({
            let mailbox = Arc::clone(&mailbox);
            move || {
                // ORDERING: Acquire pairs with the Release in `hand_over`.
                while !mailbox.stop.load(Ordering::Relaxed) {
                    if !mailbox.full.load(Ordering::Acquire) {
                        pause();
                        continue;
                    }
                    mailbox.full.store(false, Ordering::Relaxed);
                    let probe = mailbox.probe.lock().expect("nobody panics").take();
                    probe.expect("it is full").start();
                }
            }
        });
        Receiver { mailbox, thread }
    }

    fn hand_over(&self, probe: Probe) {
        *self.mailbox.probe.lock().expect("nobody panics") = Some(probe);
        // ORDERING: Release pairs with the receiver's Acquire in `start`.
        self.mailbox.full.store(true, Ordering::Release);
    }

    fn stop(self) {
        self.mailbox.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        self.thread.join().expect("it does not panic");
    }
}

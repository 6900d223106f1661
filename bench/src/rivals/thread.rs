//! Bare OS threads of the standard library: what the kernel charges for waking, starting and stopping one.

use std::{
    future::Future,
    hint::spin_loop,
    ops::DerefMut,
    pin::pin,
    sync::{
        Arc, Barrier, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, SyncSender, sync_channel},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, JoinHandle, Thread},
    time::{Duration, Instant},
};

use super::{Kind, Rival};
use crate::{
    cell::Measured,
    params::Params,
    placement::pin_to_nth_cpu,
    workloads::{
        block_on_ready, channel_ping_pong, event_ping_pong, idle,
        memory_frames::{self, VALUES, Value},
        mutex_contended::{self, LOCKERS, Locker, Span},
        mutex_ping_pong::{self, MUTEXES}, mutex_uncontended,
        oneshot_across::{self, Letter, Rendezvous},
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
    cells: &[(&memory_frames::WORKLOAD, memory_frames), (&yields::WORKLOAD, yields),
        (&event_ping_pong::WORKLOAD, event_ping_pong),
        (&mutex_ping_pong::WORKLOAD, mutex_ping_pong),
        (&channel_ping_pong::WORKLOAD, channel_ping_pong),
        (&mutex_uncontended::WORKLOAD, mutex_uncontended),
        (&mutex_contended::WORKLOAD, mutex_contended),
        (&block_on_ready::WORKLOAD, block_on_ready),
        (&oneshot_across::WORKLOAD, oneshot_across),
        (&producers::WORKLOAD, producers), (&outside::WORKLOAD, outside), (&start_stop::WORKLOAD, start_stop), (&idle::WORKLOAD, idle)],
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

/// Runs both on one CPU, a thread each.
fn two_on_one_cpu(first: impl FnOnce() + Send, second: impl FnOnce() + Send) {
    thread::scope(|threads| {
        threads.spawn(|| {
            pin_to_nth_cpu(0);
            first();
        });
        threads.spawn(|| {
            pin_to_nth_cpu(0);
            second();
        });
    });
}

/// Passes and locks of two threads in a round: each takes the kernel a microsecond or two.
const PASSES: u64 = 20_000;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics")
}

fn event_ping_pong(params: &Params) -> Measured {
    /// Set by one thread for another that waits for it, which clears it.
    #[derive(Default)]
    struct Event {
        is_set: Mutex<bool>,
        changed: Condvar,
    }
    impl Event {
        fn set(&self) {
            *lock(&self.is_set) = true;
            self.changed.notify_one();
        }

        fn wait(&self) {
            let is_set = self.changed.wait_while(lock(&self.is_set), |is_set| !*is_set);
            *is_set.expect("nobody panics") = false;
        }
    }
    fn pass(mine: &Event, other: &Event) {
        for _ in 0..PASSES / 2 {
            mine.wait();
            other.set();
        }
    }
    let round = || {
        let (ping, pong) = (Event::default(), Event::default());
        ping.set();
        two_on_one_cpu(|| pass(&ping, &pong), || pass(&pong, &ping));
    };
    event_ping_pong::measure(params, PASSES, &[("condvar", &round)])
}

/// Two threads on one CPU, as before.
fn mutex_ping_pong(params: &Params) -> Measured {
    const LOCKS: usize = PASSES as usize / 2;
    mutex_ping_pong::measure_some(params, LOCKS, || {
        let circle: [Mutex<u64>; MUTEXES] = Default::default();
        let ready = Barrier::new(2);
        let walk = |position: usize| {
            let held = lock(&circle[position]);
            ready.wait();
            mutex_ping_pong::walk(position, held, LOCKS, |position| lock(&circle[position]));
        };
        two_on_one_cpu(|| walk(0), || walk(1));
        circle.into_iter().map(|mutex| mutex.into_inner().expect("nobody panics")).sum()
    })
}

fn channel_ping_pong(params: &Params) -> Measured {
    use channel_ping_pong::{ping, pong};
    let round = || {
        let ((to, there), (fro, back)) = (sync_channel(1), sync_channel(1));
        let send = |sender: &SyncSender<u64>, number| sender.send(number).expect("the other waits for it");
        let receive = |receiver: &mpsc::Receiver<u64>| receiver.recv().expect("the other sends it");
        two_on_one_cpu(
            move || ping(PASSES, |number| send(&to, number), || receive(&back)),
            move || pong(PASSES, || receive(&there), |number| send(&fro, number)),
        );
    };
    channel_ping_pong::measure(params, PASSES, &[("sync_channel", &round)])
}

fn mutex_uncontended(params: &Params) -> Measured {
    mutex_uncontended::measure(params, || {
        let mutex = Mutex::new(0);
        mutex_uncontended::round(&mutex, lock);
        mutex.into_inner().expect("nobody panics")
    })
}

fn mutex_contended(params: &Params) -> Measured {
    mutex_contended::measure(params, |locker| {
        let mutex = Mutex::new(0);
        let spans = contend(locker, || lock(&mutex));
        (mutex.into_inner().expect("nobody panics"), spans)
    })
}

/// As many threads as there are to be lockers, which begin together.
pub(super) fn contend<G: DerefMut<Target = u64>>(locker: Locker, lock: impl Fn() -> G + Sync) -> Vec<Span> {
    let ready = Barrier::new(LOCKERS);
    thread::scope(|threads| {
        let start = |_| {
            threads.spawn(|| {
                ready.wait();
                locker.run(&lock)
            })
        };
        let lockers: Vec<_> = (0..LOCKERS).map(start).collect();
        lockers.into_iter().map(|locker| locker.join().expect("it does not panic")).collect()
    })
}

/// The usual few lines: a waker that unparks the thread.
fn block_on_ready(params: &Params) -> Measured {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Unpark>) {
            self.0.unpark();
        }
    }
    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        let mut future = pin!(future);
        loop {
            match future.as_mut().poll(&mut context) {
                Poll::Ready(value) => return value,
                Poll::Pending => thread::park(),
            }
        }
    }
    block_on_ready::measure(params, block_on)
}

/// Two threads, and channels that send one message each. Which CPUs they run on is the kernel's business.
fn oneshot_across(params: &Params) -> Measured {
    use oneshot_across::PASSES;
    type Sender = mpsc::Sender<Letter<Reply>>;
    struct Reply(Sender);
    /// Sends a message with this number, and so on by turns; returns the number of the last one.
    fn play(mut number: u64, mut to: Sender) -> u64 {
        loop {
            let (reply, answer) = mpsc::channel();
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
    let round = || {
        let meeting = &Rendezvous::default();
        let (first, letter) = mpsc::channel();
        thread::scope(|threads| {
            threads.spawn(move || {
                meeting.arrive();
                play(0, first)
            });
            let other = threads.spawn(move || {
                meeting.arrive();
                let letter: Letter<Reply> = letter.recv().expect("the other sends it");
                play(letter.number + 1, letter.reply.0)
            });
            other.join().expect("it does not panic")
        })
    };
    let send = |sender: mpsc::Sender<Instant>, now| sender.send(now).expect("the thread waits for it");
    let start = |receivers: Vec<mpsc::Receiver<Instant>>| {
        let receive = |receiver: mpsc::Receiver<Instant>| receiver.recv().expect("it is sent").elapsed();
        let thread = thread::spawn(move || receivers.into_iter().map(receive).collect::<Vec<Duration>>());
        || thread.join().expect("it does not panic")
    };
    oneshot_across::measure(params, round, mpsc::channel, send, start)
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

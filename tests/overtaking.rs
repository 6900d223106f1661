//! Splits: a long job lets more urgent work go first at its next split, however that came up.

mod common;

use common::busy::{ALL, flag, mine};
use common::{planned, spin_until, system, watch};
use ramie::{Counter, JobError, JobSystem, Partition, Priority};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

/// The numbers of workers that everything here is tested with.
const WORKERS: [usize; 3] = [1, 2, 8];

/// How a long job passes splits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Split {
    Yield,
    Join,
    Scope,
    Loop,
    StaticLoop,
    Tree,
}

const SPLITS: [Split; 6] =
    [Split::Yield, Split::Join, Split::Scope, Split::Loop, Split::StaticLoop, Split::Tree];

/// How something urgent comes up in the middle of a long job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrival {
    /// The long job itself spawns it.
    Spawned,
    SpawnedPinned,
    /// The long job wakes a fiber of its worker.
    Woken,
    /// A thread outside submits it.
    Submitted,
    SubmittedPinned,
    /// A thread outside wakes a fiber of the long job's worker.
    WokenFromOutside,
    /// A counter's last signal releases it.
    Released,
}

const ARRIVALS: [Arrival; 7] = [
    Arrival::Spawned,
    Arrival::SpawnedPinned,
    Arrival::Woken,
    Arrival::Submitted,
    Arrival::SubmittedPinned,
    Arrival::WokenFromOutside,
    Arrival::Released,
];

/// A long job on worker 0 and something more urgent, which `bring` brings about once and which sets `came`.
struct Overtaking {
    system: JobSystem,
    arrival: Arrival,
    urgent: Priority,
    gate: Counter,
    /// What the thread outside is asked, and has done.
    asked: AtomicBool,
    brought: AtomicBool,
    came: Arc<AtomicBool>,
    /// Splits of the long job since it was brought and before it came.
    passed: AtomicUsize,
}

impl Overtaking {
    fn urgent_job(&self) -> impl FnOnce() + Send + 'static {
        let (came, urgent) = (Arc::clone(&self.came), self.urgent);
        move || {
            assert_eq!(mine(), urgent);
            came.store(true, SeqCst);
        }
    }

    /// In the long job.
    fn bring(&self) {
        let job = || self.system.job().priority(self.urgent);
        match self.arrival {
            Arrival::Spawned => job().detach(self.urgent_job()),
            Arrival::SpawnedPinned => job().on_worker(0).detach(self.urgent_job()),
            Arrival::Woken | Arrival::Released => self.gate.signal(),
            _ => {
                self.asked.store(true, SeqCst);
                spin_until(|| self.brought.load(SeqCst));
            }
        }
    }

    /// In a thread outside.
    fn assist(&self) {
        if matches!(self.arrival, Arrival::Submitted | Arrival::SubmittedPinned | Arrival::WokenFromOutside) {
            spin_until(|| self.asked.load(SeqCst));
            let job = || self.system.job().priority(self.urgent);
            match self.arrival {
                Arrival::Submitted => job().detach(self.urgent_job()),
                Arrival::SubmittedPinned => job().on_worker(0).detach(self.urgent_job()),
                _ => self.gate.signal(),
            }
            self.brought.store(true, SeqCst);
        }
    }

    /// What the long job does between two splits; `false` when it need not go on.
    fn step(&self) -> bool {
        if self.came.load(SeqCst) {
            return false;
        }
        self.passed.fetch_add(1, SeqCst);
        true
    }

    fn long(&self, split: Split) {
        // A few splits before.
        for _ in 0..10 {
            ramie::yield_if_urgent();
            ramie::join(|| (), || ());
        }
        if !matches!(split, Split::Loop | Split::StaticLoop | Split::Tree) {
            self.bring();
        }
        match split {
            Split::Yield => {
                while self.step() {
                    ramie::yield_if_urgent();
                }
            }
            Split::Join => {
                while self.step() {
                    ramie::join(|| (), || ());
                }
            }
            Split::Scope => {
                while self.step() {
                    ramie::scope(|_| ());
                }
            }
            // With more than one worker a single loop may end while another worker is about to start the urgent job.
            Split::Loop => self.repeat(|first| {
                ramie::par(0..1000_u32).for_each(|i| {
                    if i == 0 && first {
                        self.bring();
                    } else {
                        self.step();
                    }
                });
            }),
            Split::StaticLoop => self.repeat(|first| {
                ramie::par(0..64_u32).partition(Partition::Static(64)).for_each(|i| {
                    if i == 0 && first {
                        self.bring();
                    } else {
                        self.step();
                    }
                });
            }),
            Split::Tree => self.repeat(|first| self.tree(8, first)),
        }
    }

    fn repeat(&self, run: impl Fn(bool)) {
        run(true);
        while !self.came.load(SeqCst) {
            run(false);
        }
    }

    fn tree(&self, depth: u32, first: bool) {
        if depth == 0 {
            if first {
                self.bring();
            } else {
                self.step();
            }
        } else {
            ramie::join(|| self.tree(depth - 1, first), || self.tree(depth - 1, false));
        }
    }
}

/// After how many of its steps a long job of one worker must have let what is urgent go first. A turn of fairness may
/// give it back the worker once, so the second split counts.
fn steps_max(split: Split) -> usize {
    match split {
        // The first step is before the first split.
        Split::Yield | Split::Join | Split::Scope => 2,
        // Chunks grow: 1 item, then at most 8, ...
        Split::Loop => 8,
        // Between the first leaf and the second there is none, and one between that and the third.
        Split::StaticLoop | Split::Tree => 3,
    }
}

#[test]
fn urgent_work_overtakes_a_long_job_at_its_next_split() {
    let _watch = watch("overtaking", 180);
    for workers in WORKERS {
        for (urgent, long) in [
            (Priority::High, Priority::Normal),
            (Priority::High, Priority::Low),
            (Priority::Normal, Priority::Low),
        ] {
            let system = system(workers);
            for split in SPLITS {
                for arrival in ARRIVALS {
                    (0..3).for_each(|_| overtake(&system, urgent, long, split, arrival));
                }
            }
        }
    }
}

fn overtake(system: &JobSystem, urgent: Priority, long: Priority, split: Split, arrival: Arrival) {
    let this = Arc::new(Overtaking {
        system: system.clone(),
        arrival,
        urgent,
        gate: Counter::new(1),
        asked: AtomicBool::new(false),
        brought: AtomicBool::new(false),
        came: Arc::default(),
        passed: AtomicUsize::new(0),
    });
    let (begun, gate, job) = (Counter::new(1), this.gate.clone(), this.urgent_job());
    match arrival {
        Arrival::Woken | Arrival::WokenFromOutside => {
            let ready = begun.clone();
            system.job().name("urgent").priority(urgent).on_worker(0).detach(move || {
                ready.signal();
                gate.wait();
                job();
            });
            begun.wait();
        }
        Arrival::Released => system.job().priority(urgent).after(&gate).detach(job),
        _ => drop(job),
    }
    let theirs = Arc::clone(&this);
    let handle = system.job().name("long").priority(long).on_worker(0).spawn(move || theirs.long(split));
    this.assist();
    handle.join().expect("it ends");
    let passed = this.passed.load(SeqCst);
    if system.workers() == 1 {
        assert!(
            passed <= steps_max(split),
            "{passed} steps of a {long:?} job with {split:?} before a {urgent:?} one, {arrival:?}"
        );
    }
    system.wait_idle();
}

/// What gives way goes on where it was: after what was urgent, before others of its priority.
#[test]
fn a_job_that_gave_way_goes_on_before_others_of_its_priority() {
    let _watch = watch("gave way", 30);
    for long in [Priority::Normal, Priority::Low] {
        let system = system(1);
        let theirs = system.clone();
        let log = Arc::new(Mutex::new(Vec::new()));
        let note = |log: &Arc<Mutex<Vec<_>>>, what: &'static str| {
            let log = Arc::clone(log);
            move || log.lock().expect("not poisoned").push(what)
        };
        // A fiber that is ready before the job gives way.
        let (gate, begun) = (Counter::new(1), Counter::new(1));
        let (opened, ready, woken) = (gate.clone(), begun.clone(), note(&log, "fiber"));
        system.job().priority(long).detach(move || {
            ready.signal();
            opened.wait();
            woken();
        });
        begun.wait();
        let mine = Arc::clone(&log);
        let handle = system.job().priority(long).spawn(move || {
            gate.signal();
            theirs.job().priority(long).detach(note(&mine, "other"));
            theirs.job().priority(long).on_worker(0).detach(note(&mine, "pinned"));
            theirs.job().priority(Priority::High).detach(note(&mine, "urgent"));
            theirs.job().priority(Priority::High).detach(note(&mine, "urgent"));
            note(&mine, "begin")();
            assert!(ramie::yield_if_urgent());
            note(&mine, "end")();
            assert!(!ramie::yield_if_urgent());
        });
        handle.join().expect("its checks hold");
        system.wait_idle();
        let log = log.lock().expect("not poisoned").clone();
        assert_eq!(log[..4], ["begin", "urgent", "urgent", "end"], "{log:?}");
        assert_eq!(log.len(), 7);
    }
}

#[test]
fn yield_if_urgent_says_no_when_there_is_nothing_more_urgent() {
    let _watch = watch("nothing urgent", 60);
    assert!(!ramie::yield_if_urgent(), "outside of jobs");
    for workers in WORKERS {
        let system = system(workers);
        for priority in ALL {
            for _ in 0..20 {
                // Also after there was something, whose hint may be left behind.
                system.job().priority(Priority::High).spawn(|| ()).join().expect("it runs");
                let nothing =
                    system.job().priority(priority).spawn(|| (0..10).all(|_| !ramie::yield_if_urgent()));
                assert!(nothing.join().expect("it runs"), "{priority:?} with {workers} workers");
            }
        }
        assert!(!ramie::yield_if_urgent(), "outside of jobs");
    }
    // One worker, with jobs of the same priority and below queued: and of all in a High job.
    let system = system(1);
    for priority in ALL {
        let theirs = system.clone();
        let handle = system.job().priority(priority).spawn(move || {
            for other in ALL.into_iter().filter(|other| *other <= priority) {
                theirs.job().priority(other).detach(|| ());
                theirs.job().priority(other).on_worker(0).detach(|| ());
            }
            assert!(!ramie::yield_if_urgent(), "{priority:?}");
            for other in ALL.into_iter().filter(|other| *other > priority) {
                theirs.job().priority(other).detach(|| ());
                assert!(ramie::yield_if_urgent(), "{priority:?} with {other:?} queued");
            }
            assert!(!ramie::yield_if_urgent(), "{priority:?}");
        });
        handle.join().expect("its checks hold");
        system.wait_idle();
    }
}

/// In a destructor during unwinding nothing gives way: others must not see the panic.
#[test]
fn nothing_gives_way_while_the_thread_unwinds() {
    let _watch = watch("unwinding", 30);
    struct InDrop(JobSystem, Arc<AtomicBool>);
    impl Drop for InDrop {
        fn drop(&mut self) {
            let came = Arc::clone(&self.1);
            self.0.job().priority(Priority::High).detach(move || {
                assert!(!std::thread::panicking());
                came.store(true, SeqCst);
            });
            assert!(!ramie::yield_if_urgent());
            ramie::join(|| (), || ());
            ramie::scope(|_| ());
            assert!(!self.1.load(SeqCst), "the one worker is here");
        }
    }
    let system = system(1);
    for priority in [Priority::Normal, Priority::Low] {
        let (came, theirs) = (flag().0, system.clone());
        let seen = Arc::clone(&came);
        let handle = system.job().priority(priority).spawn(move || {
            let _in_drop = InDrop(theirs, seen);
            planned(5)
        });
        assert!(matches!(handle.join(), Err(JobError::Panicked(_))));
        system.wait_idle();
        assert!(came.load(SeqCst));
    }
}

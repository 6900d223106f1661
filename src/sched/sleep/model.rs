//! loom: no work is left while all sleep, and nobody is counted as searching for ever.
//!
//! The workers here do what `find_work.rs` does, with one shared queue, an inbox each, and a single look for a search.

use super::{Attention, Sleep, Woken};
use crate::memory::node::{Kind, Node};
use crate::primitives::explore;
use crate::sched::inbox::Inbox;
use crate::sched::priority::Priority;
use loom::sync::Notify;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use std::sync::Arc;

const WORKERS: usize = 2;

/// What a job does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Job {
    /// Ends at once.
    Plain,
    /// Ends when all jobs of this model have been started: then as many workers as jobs must be awake.
    Meet,
    /// Pushes a job and ends when that has been started, which somebody else must do.
    PushAndMeet,
}

/// Everything that any worker could take: a bit per job, and one that says that all have been started.
struct Queue(AtomicUsize);

const ALL_STARTED: usize = 1 << 2;

impl Queue {
    fn push(&self, job: usize) {
        self.0.fetch_or(1 << job, Ordering::Release);
    }

    fn is_empty(&self) -> bool {
        self.0.load(Ordering::Relaxed) & !ALL_STARTED == 0
    }

    fn take(&self) -> Option<usize> {
        let mut word = self.0.load(Ordering::Relaxed);
        while word & !ALL_STARTED != 0 {
            let job = word.trailing_zeros();
            match self.0.compare_exchange(word, word & !(1 << job), Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(job as usize),
                Err(now) => word = now,
            }
        }
        None
    }
}

struct Model {
    sleep: Sleep,
    queue: Queue,
    /// Only one of the models delivers something.
    with_inboxes: bool,
    inboxes: [Inbox; WORKERS],
    tokens: [Notify; WORKERS],
    /// Delivered to an inbox at most once.
    node: Node,
    jobs: [Job; 2],
    /// How many jobs there will be, inboxes included, and how many have been started. No part of what loom explores.
    job_count: usize,
    started_count: std::sync::atomic::AtomicUsize,
    /// Wake the jobs that wait for the others.
    met: [Notify; WORKERS],
}

impl Model {
    fn new(jobs: [Job; 2], job_count: usize, with_inboxes: bool) -> Arc<Self> {
        Arc::new(Self {
            sleep: Sleep::new(WORKERS, WORKERS, false),
            queue: Queue(AtomicUsize::new(0)),
            with_inboxes,
            inboxes: std::array::from_fn(|_| Inbox::new()),
            tokens: std::array::from_fn(|_| Notify::new()),
            node: Node::new(Kind::Job, 1),
            jobs,
            job_count,
            started_count: Default::default(),
            met: std::array::from_fn(|_| Notify::new()),
        })
    }

    /// Makes a job visible and wakes whoever is needed: `Worker::push`.
    fn push(&self, slot: usize) {
        self.queue.push(slot);
        // Without a look at whether `attention` is quiet: it never is here, because loom knows no membarrier.
        if let Some(sleeper) = self.sleep.work_was_added(Priority::Normal) {
            self.tokens[sleeper].notify();
        }
    }

    /// `Remote::deliver`.
    fn deliver(&self, worker: usize) {
        if self.inboxes[worker].push_chain(&self.node, &self.node) {
            self.tokens[worker].notify();
        }
    }

    fn all_started(&self) -> bool {
        self.queue.0.load(Ordering::Acquire) & ALL_STARTED != 0
    }

    fn has_work(&self, worker: usize) -> bool {
        (self.with_inboxes && !self.inboxes[worker].is_empty()) || self.queue.0.load(Ordering::Relaxed) != 0
    }

    /// A job begins; the last one lets all go home, as a shutdown does.
    fn start(&self) {
        let before = self.started_count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if before + 1 == self.job_count {
            self.queue.0.fetch_or(ALL_STARTED, Ordering::Release);
            for worker in 0..WORKERS {
                self.tokens[worker].notify();
                if self.jobs[0] != Job::Plain {
                    self.met[worker].notify();
                }
            }
        }
    }

    fn run(&self, worker: usize, job: Job) {
        self.start();
        if job == Job::PushAndMeet {
            self.push(1);
        }
        if job != Job::Plain {
            // Blocks the worker, not only the job: the others must do the rest.
            while !self.all_started() {
                self.met[worker].wait();
            }
        }
    }

    /// `Worker::job_loop`.
    fn work(&self, worker: usize) {
        let mut searching = false;
        loop {
            let delivered = self.with_inboxes
                && !self.inboxes[worker].is_empty()
                && !self.inboxes[worker].take_all().is_null();
            let job = if delivered { Some(Job::Plain) } else { self.queue.take().map(|job| self.jobs[job]) };
            if let Some(job) = job {
                self.end_search(&mut searching);
                self.run(worker, job);
            } else if self.all_started() {
                return self.end_search(&mut searching);
            } else {
                self.idle(worker, &mut searching);
            }
        }
    }

    /// `Worker::idle`.
    fn idle(&self, worker: usize, searching: &mut bool) {
        if !*searching {
            *searching = self.sleep.try_begin_search();
        }
        if !(*searching && self.has_work(worker)) {
            let woken = self.go_to_sleep(worker, *searching);
            *searching = woken == Woken::ToSearch;
        }
    }

    /// `Worker::end_search`.
    fn end_search(&self, searching: &mut bool) {
        if std::mem::take(searching) && self.sleep.end_search() && !self.queue.is_empty() {
            if let Some(sleeper) = self.sleep.claim_sleeper(Priority::Normal) {
                self.tokens[sleeper].notify();
            }
        }
    }

    /// `Worker::sleep`.
    fn go_to_sleep(&self, worker: usize, searching: bool) -> Woken {
        self.sleep.announce(worker, searching, false);
        let parked = !self.with_inboxes || self.inboxes[worker].try_park();
        let sleeps = parked && !self.has_work(worker);
        if sleeps {
            self.tokens[worker].wait();
        }
        if self.with_inboxes {
            self.inboxes[worker].leave_parked();
        }
        let woken = self.sleep.wake_self(worker, false);
        // LIVENESS: pushers relied on the search that `announce` ended, and there may be more than one job.
        if !sleeps && searching && woken == Woken::ByItself && self.sleep.try_begin_search() {
            return Woken::ToSearch;
        }
        woken
    }

    fn assert_over(&self) {
        assert!(self.queue.is_empty() && self.all_started());
        assert_eq!(
            self.sleep.words.searching_count.load(Ordering::Relaxed),
            0,
            "somebody is still counted as searching"
        );
        assert_eq!(self.sleep.sleeping_count(), 0, "somebody is still counted as asleep");
    }
}

/// Runs `submit` on the model's main thread beside the workers.
fn check(preemptions: usize, new: impl Fn() -> Arc<Model> + Sync + Send + 'static, submit: fn(&Model)) {
    explore(preemptions, move || {
        let model = new();
        // The model with an inbox is about one worker that is woken in two ways.
        let workers = if model.with_inboxes { 0..1 } else { 0..WORKERS };
        let workers = workers.map(|worker| {
            let model = Arc::clone(&model);
            thread::spawn(move || model.work(worker))
        });
        let workers: Vec<_> = workers.collect();
        submit(&model);
        for worker in workers {
            worker.join().unwrap();
        }
        model.assert_over();
    });
}

/// 3 threads, preemption bound 2: one job from outside.
#[test]
fn a_job_from_outside_is_found_although_all_go_to_sleep() {
    check(2, || Model::new([Job::Plain; 2], 1, false), |model| model.push(0));
}

/// 3 threads, preemption bound 2: two jobs from outside, each of which blocks its worker until both have begun.
#[test]
fn two_jobs_wake_two_workers() {
    check(
        2,
        || Model::new([Job::Meet; 2], 2, false),
        |model| {
            model.push(0);
            model.push(1);
        },
    );
}

/// 3 threads, preemption bound 2: a job pushes another one and then blocks its worker until that has begun.
#[test]
fn a_job_pushed_by_a_worker_that_blocks_is_found_by_the_other() {
    check(2, || Model::new([Job::PushAndMeet, Job::Plain], 2, false), |model| model.push(0));
}

/// 2 threads, preemption bound 3: a worker wakes for its inbox while somebody chooses it for a search.
#[test]
fn a_worker_that_wakes_for_its_inbox_keeps_the_count_of_searchers_right() {
    check(
        3,
        || Model::new([Job::Plain; 2], 2, true),
        |model| {
            model.deliver(0);
            model.push(0);
        },
    );
}

/// Queues with High work in them, and the hint.
struct High {
    attention: Attention,
    queue: AtomicUsize,
}

impl High {
    fn push(&self, job: usize) {
        self.queue.fetch_or(1 << job, Ordering::Release);
        // As in `Sleep::work_was_added`.
        crate::primitives::fence(Ordering::SeqCst);
        self.attention.note_high();
    }

    /// `Worker::next_high`.
    fn take(&self) -> Option<usize> {
        if !self.attention.high_is_queued() {
            return None;
        }
        let word = self.queue.load(Ordering::Relaxed);
        if word != 0 {
            let job = word.trailing_zeros() as usize;
            if self.queue.fetch_and(!(1 << job), Ordering::Acquire) & 1 << job != 0 {
                return Some(job);
            }
        }
        self.attention.forget_high();
        if self.queue.load(Ordering::Relaxed) != 0 {
            self.attention.note_high();
        }
        None
    }

    fn assert_seen(&self) {
        let queued = self.queue.load(Ordering::SeqCst) != 0;
        assert!(
            !queued || self.attention.high_is_queued(),
            "High work is queued and nobody will look for it"
        );
    }
}

/// 3 threads, preemption bound 3: two workers that find nothing clear the hint while somebody pushes.
#[test]
fn the_hint_is_never_lost_while_high_work_is_queued() {
    explore(3, || {
        let high = Arc::new(High { attention: Attention::new(false), queue: AtomicUsize::new(0) });
        high.push(0);
        let workers: Vec<_> = (0..2)
            .map(|_| {
                let high = Arc::clone(&high);
                thread::spawn(move || {
                    high.take();
                    high.take();
                })
            })
            .collect();
        high.push(1);
        for worker in workers {
            worker.join().unwrap();
        }
        high.assert_seen();
    });
}

/// 3 threads, preemption bound 2: Low work is pushed while one worker goes to sleep guarded and another one not. The
/// guarded one, which will not take it for now, wakes the other if its search kept the pusher from doing so.
#[test]
fn low_work_wakes_a_worker_that_may_take_it() {
    explore(2, || {
        let sleep = Arc::new(Sleep::new(2, 2, false));
        let queued = Arc::new(AtomicUsize::new(0));
        let tokens: Arc<[Notify; 2]> = Arc::new(std::array::from_fn(|_| Notify::new()));
        let free = {
            let (sleep, queued, tokens) = (Arc::clone(&sleep), Arc::clone(&queued), Arc::clone(&tokens));
            thread::spawn(move || {
                while queued.fetch_and(0, Ordering::AcqRel) == 0 {
                    sleep.announce(1, false, false);
                    if queued.load(Ordering::Relaxed) == 0 {
                        tokens[1].wait();
                    }
                    if sleep.wake_self(1, false) == Woken::ToSearch {
                        let _ = sleep.end_search();
                    }
                }
            })
        };
        let guarded = {
            let (sleep, queued, tokens) = (Arc::clone(&sleep), Arc::clone(&queued), Arc::clone(&tokens));
            thread::spawn(move || {
                let mut searching = sleep.try_begin_search();
                loop {
                    sleep.announce(0, searching, true);
                    // `Worker::pass_the_search_on`; then it sleeps, with a time limit.
                    if queued.load(Ordering::Relaxed) != 0 {
                        if let Some(sleeper) = sleep.claim_sleeper(Priority::Low) {
                            tokens[sleeper].notify();
                        }
                    }
                    // A claim that found nobody for Low work may have chosen this worker, in case there is more.
                    searching = sleep.wake_self(0, true) == Woken::ToSearch;
                    if !searching {
                        break;
                    }
                }
            })
        };
        queued.fetch_or(1, Ordering::Release);
        if let Some(sleeper) = sleep.work_was_added(Priority::Low) {
            tokens[sleeper].notify();
        }
        guarded.join().unwrap();
        free.join().unwrap();
        assert_eq!(sleep.words.searching_count.load(Ordering::Relaxed), 0);
    });
}

/// 2 or 3 threads, preemption bound 3: what Background workers do, where nobody searches. Work is pushed, and somebody who leaves its
/// CPU wakes the worker too.
#[test]
fn a_background_worker_does_not_sleep_while_there_is_work() {
    explore(3, || {
        struct Shared {
            sleep: Sleep,
            queue: Queue,
            token: Notify,
        }
        let shared = Arc::new(Shared {
            sleep: Sleep::new(1, 1, false),
            queue: Queue(AtomicUsize::new(0)),
            token: Notify::new(),
        });
        let theirs = Arc::clone(&shared);
        let worker = thread::spawn(move || {
            let Shared { sleep, queue, token } = &*theirs;
            // `sleep_in_background`, until it has taken the one job.
            while queue.take().is_none() {
                sleep.announce(0, false, false);
                if queue.is_empty() {
                    token.wait();
                }
                sleep.wake_self(0, false);
            }
        });
        let theirs = Arc::clone(&shared);
        let mate = thread::spawn(move || {
            // `hand_over_cpu`.
            if !theirs.queue.is_empty() {
                theirs.token.notify();
            }
        });
        shared.queue.push(0);
        if let Some(sleeper) = shared.sleep.claim_any(|_| true) {
            assert_eq!(sleeper, 0);
            shared.token.notify();
        }
        worker.join().unwrap();
        mate.join().unwrap();
        assert_eq!(shared.sleep.sleeping_count(), 0, "it is counted as asleep");
    });
}

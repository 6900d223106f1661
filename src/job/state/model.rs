//! loom: a job's closure is claimed once, its result dropped or taken once, its waiter woken once, and its block freed
//! once, after everything else.

#![expect(unsafe_code, reason = "checked cells")]

use super::{Completed, JobState, Look, Outcome, Owner, Popped, Snapshot};
use crate::primitives::explore;
use loom::cell::UnsafeCell;
use loom::sync::Notify;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use std::sync::Arc;
// Counts for the end of a model; no part of what loom explores.
use std::sync::atomic::AtomicUsize as Tally;

/// The id under which the handle's owner waits.
const WAITER: u32 = 5;

/// What is in a block's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Empty,
    Closure,
    Result,
    /// The block belongs to somebody else.
    Freed,
}

/// A job in its block, and whoever waits for it. The functions do what `job/body.rs`, `handle.rs` and `system/core.rs` do.
struct Model {
    state: JobState,
    body: UnsafeCell<Body>,
    token: Notify,
    woken: AtomicUsize,
    closures: Tally,
    results_made: Tally,
    results_gone: Tally,
    waits: Tally,
    frees: Tally,
}

// SAFETY: loom checks all accesses to the cell.
unsafe impl Sync for Model {}
// SAFETY: as above.
unsafe impl Send for Model {}

fn count(tally: &Tally) {
    tally.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
}

fn get(tally: &Tally) -> usize {
    tally.load(std::sync::atomic::Ordering::Relaxed)
}

impl Model {
    fn new(owner: Owner, held: bool) -> Arc<Self> {
        Self::with(|state| state.submit(owner, held))
    }

    /// One that a token knows.
    fn watched(owner: Owner, held: bool) -> Arc<Self> {
        Self::with(|state| state.submit_watched(owner, held))
    }

    fn with(submit: impl FnOnce(&JobState)) -> Arc<Self> {
        let model = Self {
            state: JobState::free(),
            body: UnsafeCell::new(Body::Closure),
            token: Notify::new(),
            woken: AtomicUsize::new(0),
            closures: Tally::new(0),
            results_made: Tally::new(0),
            results_gone: Tally::new(0),
            waits: Tally::new(0),
            frees: Tally::new(0),
        };
        submit(&model.state);
        Arc::new(model)
    }

    fn spawn(self: &Arc<Self>, f: impl FnOnce(&Self) + 'static) -> thread::JoinHandle<()> {
        let model = Arc::clone(self);
        thread::spawn(move || f(&model))
    }

    /// Puts something else into the body; loom finds another user of it.
    fn replace(&self, now: Body) -> Body {
        // SAFETY: loom checks the access.
        self.body.with_mut(|body| unsafe { body.replace(now) })
    }

    fn take_closure(&self) {
        assert_eq!(self.replace(Body::Empty), Body::Closure, "the closure was claimed twice");
        count(&self.closures);
    }

    fn take_result(&self) {
        assert_eq!(self.replace(Body::Empty), Body::Result);
        count(&self.results_gone);
    }

    fn free(&self) {
        assert_eq!(self.replace(Body::Freed), Body::Empty, "freed twice, or with something in it");
        count(&self.frees);
        self.state.recycle();
    }

    fn wake(&self, waiter: u32) {
        if waiter != 0 {
            assert_eq!(waiter, WAITER);
            assert_eq!(self.woken.fetch_add(1, Ordering::Release), 0, "woken twice");
            self.token.notify();
        }
    }

    /// From the closure's end on.
    fn end(&self, outcome: Outcome, mut kept: bool) {
        let completed = loop {
            if let Some(completed) = self.state.complete(outcome, kept) {
                break completed;
            }
            kept = false;
            self.take_result();
        };
        let Completed { waiter, free } = completed;
        if free {
            self.free();
        }
        self.wake(waiter);
    }

    /// The claimed job runs.
    fn run(&self) {
        self.take_closure();
        count(&self.results_made);
        let kept = !self.state.result_is_unwanted();
        if kept {
            assert_eq!(self.replace(Body::Result), Body::Empty);
        } else {
            count(&self.results_gone);
        }
        self.end(Outcome::Returned, kept);
    }

    fn discard(&self, outcome: Outcome) {
        self.take_closure();
        self.end(outcome, false);
    }

    /// A worker has taken the job's entry out of a queue.
    fn pop_and_run(&self) {
        match self.state.pop() {
            Popped::Yours => self.run(),
            Popped::Stale => {}
            Popped::StaleFree => self.free(),
        }
    }

    /// The last link of a held job was fired; a worker takes it out of a queue at once.
    fn release_and_run(&self) {
        if self.state.release_held() {
            self.pop_and_run();
        } else if self.state.drop_held() {
            self.free();
        }
    }

    fn cancel(&self) -> bool {
        let claimed = self.state.claim().is_some();
        if claimed {
            self.discard(Outcome::Cancelled);
        }
        claimed
    }

    /// `RawHandle::join` on a thread that cannot run the job.
    fn join(&self) -> Outcome {
        loop {
            if let Look::Done(outcome) = self.state.look() {
                match outcome {
                    Outcome::Cancelled | Outcome::Abandoned => self.drop_handle(),
                    Outcome::Returned | Outcome::Panicked => {
                        self.take_result();
                        self.let_go();
                    }
                }
                return outcome;
            }
            if self.state.set_waiter(WAITER) {
                count(&self.waits);
                while self.woken.load(Ordering::Acquire) == 0 {
                    self.token.wait();
                }
            }
        }
    }

    fn let_go(&self) {
        if self.state.let_go() {
            self.free();
        }
    }

    /// `RawHandle::drop`.
    fn drop_handle(&self) {
        if self.state.detach_unfinished() {
            return;
        }
        let Look::Done(outcome) = self.state.look() else { unreachable!("it was done") };
        if matches!(outcome, Outcome::Returned | Outcome::Panicked) {
            self.take_result();
        }
        self.let_go();
    }

    /// `SystemCore::abandon_seen` for one snapshot; whether there is nothing more to do.
    fn abandon_seen(&self, seen: Snapshot) -> bool {
        if seen.is_pending() && !seen.is_left_to_its_queue() {
            let claimed = self.state.claim_seen(seen).is_some();
            if claimed {
                self.discard(Outcome::Abandoned);
            }
            return claimed;
        }
        if seen.is_running_with_handle() {
            return self.state.give_up_seen(seen).map(|waiter| self.wake(waiter)).is_ok();
        }
        true
    }

    fn abandon(&self) {
        while !self.abandon_seen(self.state.snapshot()) {}
    }

    /// All have let go: everything has happened exactly once.
    fn assert_over(&self) {
        assert_eq!(get(&self.closures), 1, "closure");
        assert_eq!(get(&self.results_made), get(&self.results_gone), "results");
        assert_eq!(self.woken.load(Ordering::Relaxed), get(&self.waits), "waiter");
        assert_eq!(get(&self.frees), 1, "block");
    }
}

/// Joins all.
fn join(threads: impl IntoIterator<Item = thread::JoinHandle<()>>) {
    for thread in threads {
        thread.join().unwrap();
    }
}

/// 2 threads, preemption bound 5.
#[test]
fn a_joined_job_hands_its_result_to_the_waiter() {
    explore(5, || {
        let model = Model::new(Owner::Handle, false);
        let worker = model.spawn(Model::pop_and_run);
        assert_eq!(model.join(), Outcome::Returned);
        join([worker]);
        model.assert_over();
    });
}

/// 2 threads, preemption bound 5.
#[test]
fn a_handle_that_is_dropped_lets_go_of_its_job_at_any_moment() {
    explore(5, || {
        let model = Model::new(Owner::Handle, false);
        let worker = model.spawn(Model::pop_and_run);
        model.drop_handle();
        join([worker]);
        model.assert_over();
    });
}

/// 2 threads, preemption bound 5.
#[test]
fn a_job_is_run_or_cancelled() {
    explore(5, || {
        let model = Model::new(Owner::Handle, false);
        let worker = model.spawn(Model::pop_and_run);
        let cancelled = model.cancel();
        assert_eq!(model.join(), if cancelled { Outcome::Cancelled } else { Outcome::Returned });
        join([worker]);
        model.assert_over();
    });
}

/// 2 threads, preemption bound 5.
#[test]
fn a_cancelled_job_whose_handle_is_dropped_is_freed_by_the_last() {
    explore(5, || {
        let model = Model::new(Owner::Handle, false);
        let worker = model.spawn(Model::pop_and_run);
        model.cancel();
        model.drop_handle();
        join([worker]);
        model.assert_over();
    });
}

/// 2 threads, preemption bound 5: the handle's owner runs the job in place while a worker pops its entry.
#[test]
fn a_job_is_run_in_place_or_by_the_one_who_pops_it() {
    explore(5, || {
        let model = Model::new(Owner::Handle, false);
        let worker = model.spawn(Model::pop_and_run);
        if model.state.claim_queued() {
            model.run();
        }
        assert_eq!(model.join(), Outcome::Returned);
        join([worker]);
        model.assert_over();
    });
}

/// 3 threads, preemption bound 3: a worker, an abandoning shutdown, and a waiter.
#[test]
fn an_abandoned_job_wakes_its_waiter_whether_it_runs_or_not() {
    explore(3, || {
        let model = Model::new(Owner::Handle, false);
        let others = [model.spawn(Model::pop_and_run), model.spawn(Model::abandon)];
        let outcome = model.join();
        assert!(matches!(outcome, Outcome::Returned | Outcome::Abandoned));
        join(others);
        model.assert_over();
    });
}

/// 3 threads, preemption bound 3: as above, for a job that borrows: who waits is told only when it has really ended.
#[test]
fn a_job_that_borrows_is_not_given_up_while_it_runs() {
    explore(3, || {
        let model = Model::new(Owner::BorrowingHandle, false);
        let others = [model.spawn(Model::pop_and_run), model.spawn(Model::abandon)];
        let outcome = model.join();
        assert_eq!(get(&model.closures), 1, "the waiter went on before the job's end");
        assert_eq!(outcome == Outcome::Abandoned, get(&model.results_made) == 0);
        join(others);
        model.assert_over();
    });
}

/// 3 threads, preemption bound 3: a worker, an abandoning shutdown, and a handle that is dropped.
#[test]
fn an_abandoned_job_whose_handle_is_dropped_is_freed_once() {
    explore(3, || {
        let model = Model::new(Owner::Handle, false);
        let others = [model.spawn(Model::pop_and_run), model.spawn(Model::abandon)];
        model.drop_handle();
        join(others);
        model.assert_over();
    });
}

/// 3 threads, preemption bound 3: run, cancelled or abandoned.
#[test]
fn of_run_cancel_and_abandon_one_wins() {
    explore(3, || {
        let model = Model::new(Owner::Handle, false);
        let others = [model.spawn(Model::pop_and_run), model.spawn(Model::abandon)];
        model.cancel();
        model.join();
        join(others);
        model.assert_over();
    });
}

/// 2 threads, preemption bound 5: a job without a handle, which is popped without a read-modify-write.
#[test]
fn a_detached_job_is_left_to_its_queue_by_a_shutdown() {
    explore(5, || {
        let model = Model::new(Owner::Nobody, false);
        let worker = model.spawn(Model::pop_and_run);
        model.abandon();
        join([worker]);
        model.assert_over();
    });
}

/// 2 threads, preemption bound 5: a snapshot of a job whose block meanwhile holds another.
#[test]
fn an_old_snapshot_cannot_hit_the_next_job_of_the_block() {
    explore(5, || {
        let model = Model::new(Owner::Handle, false);
        let seen = model.state.snapshot();
        let shutdown = model.spawn(move |model| {
            model.abandon_seen(seen);
        });
        model.pop_and_run();
        model.drop_handle();
        if get(&model.frees) == 1 {
            // The next job is like the first, but for its generation.
            assert_eq!(model.replace(Body::Closure), Body::Freed);
            model.state.submit(Owner::Handle, false);
            assert_eq!(model.state.pop(), Popped::Yours, "an old snapshot claimed the next job");
            assert_eq!(model.replace(Body::Freed), Body::Closure);
        }
        join([shutdown]);
        model.assert_over();
    });
}

/// 2 threads, preemption bound 5: the handle's owner may run the job in place as soon as it is released, not before.
#[test]
fn a_held_job_runs_in_place_only_after_its_release() {
    explore(5, || {
        let model = Model::new(Owner::Handle, true);
        let released = Arc::new(Tally::new(0));
        let theirs = Arc::clone(&released);
        let link = model.spawn(move |model| {
            count(&theirs);
            model.release_and_run();
        });
        if model.state.claim_queued() {
            assert_eq!(get(&released), 1, "a held job was claimed for running");
            model.run();
        }
        assert_eq!(model.join(), Outcome::Returned);
        join([link]);
        model.assert_over();
    });
}

/// 2 threads, preemption bound 5: a job that comes after a counter is released while it is cancelled.
#[test]
fn a_held_job_that_is_cancelled_keeps_its_block_until_its_links_are_gone() {
    explore(5, || {
        let model = Model::new(Owner::Handle, true);
        let link = model.spawn(Model::release_and_run);
        let cancelled = model.cancel();
        assert_eq!(model.join(), if cancelled { Outcome::Cancelled } else { Outcome::Returned });
        join([link]);
        model.assert_over();
    });
}

/// 3 threads, preemption bound 3: a held job, an abandoning shutdown, and a handle that is dropped.
#[test]
fn a_held_job_that_is_abandoned_is_freed_by_the_last_of_handle_and_links() {
    explore(3, || {
        let model = Model::new(Owner::Handle, true);
        let others = [model.spawn(Model::release_and_run), model.spawn(Model::abandon)];
        model.drop_handle();
        join(others);
        model.assert_over();
    });
}

/// 2 threads, preemption bound 5: nobody has a handle of a held job; a shutdown may claim it until it is released.
#[test]
fn a_detached_held_job_is_released_or_abandoned() {
    explore(5, || {
        let model = Model::new(Owner::Nobody, true);
        let link = model.spawn(Model::release_and_run);
        model.abandon();
        join([link]);
        model.assert_over();
    });
}

/// 2 threads, preemption bound 5: nobody has a handle, but a token knows of the job.
#[test]
fn a_detached_job_that_is_watched_is_run_or_cancelled() {
    explore(5, || {
        let model = Model::watched(Owner::Nobody, false);
        let worker = model.spawn(Model::pop_and_run);
        model.cancel();
        join([worker]);
        model.assert_over();
    });
}

/// 2 threads, preemption bound 5: the same for one that is held back by counters.
#[test]
fn a_detached_held_job_that_is_watched_is_released_or_cancelled() {
    explore(5, || {
        let model = Model::watched(Owner::Nobody, true);
        let link = model.spawn(Model::release_and_run);
        model.cancel();
        join([link]);
        model.assert_over();
    });
}

/// 2 threads, preemption bound 5: a job is registered and submitted in one step of its token, which is cancelled meanwhile, as in `job/body.rs` and
/// `sync/cancel.rs`. Nobody ever releases it.
#[test]
fn a_held_job_is_cancelled_while_it_is_submitted() {
    explore(5, || {
        let model = Model::with(|_| ());
        // Whether the token is cancelled, and whether it knows the job.
        let known = Arc::new(loom::sync::Mutex::new((false, false)));
        let canceller = {
            let known = known.clone();
            model.spawn(move |model| {
                let mut known = known.lock().unwrap();
                known.0 = true;
                let claimed = std::mem::take(&mut known.1) && model.state.claim().is_some();
                drop(known);
                if claimed {
                    model.discard(Outcome::Cancelled);
                }
            })
        };
        let mut known = known.lock().unwrap();
        known.1 = !known.0;
        model.state.submit_watched(Owner::Nobody, true);
        let was_cancelled = known.0;
        drop(known);
        if was_cancelled {
            assert!(model.cancel(), "nobody else can claim it");
        }
        join([canceller]);
        assert!(get(&model.closures) == 1, "it is dropped, once");
        // Its links go with their counters.
        model.release_and_run();
        model.assert_over();
    });
}

/// 2 threads, preemption bound 5: a handle that was polled takes its waiter back while the job ends; one of the two has it.
#[test]
fn a_waiter_is_taken_back_or_woken() {
    explore(5, || {
        let model = Model::new(Owner::Handle, false);
        let worker = model.spawn(Model::pop_and_run);
        if model.state.set_waiter(WAITER) {
            match model.state.take_waiter() {
                0 => count(&model.waits),
                taken => assert_eq!(taken, WAITER),
            }
        }
        model.drop_handle();
        join([worker]);
        model.assert_over();
    });
}

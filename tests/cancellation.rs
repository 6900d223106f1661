//! Cancellation: of waits of every kind, of jobs that were not started, of scopes and whole trees; nothing is leaked, and nobody is left waiting.

mod common;

use common::{Census, Item, Rng, WORKERS, panic_of, planned, planned_id, soak, spin_until, watch};
use ramie::sync::channel::{self, TryReceiveError, TrySendError};
use ramie::sync::{CancelToken, Condvar, Event, Latch, Mutex, Semaphore};
use ramie::{Cancelled, Counter, JobError, JobSystem};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

/// Long enough for a test to fail by its watchdog.
const LONG: Duration = Duration::from_secs(1000);

#[test]
fn a_token_is_cancelled_once_and_with_its_parent() {
    let root = CancelToken::new();
    let (child, other) = (root.child(), root.child());
    let grandchild = child.child();
    assert!(child.check().is_ok());
    child.cancel();
    child.cancel();
    assert!(child.is_cancelled() && grandchild.is_cancelled() && child.clone().is_cancelled());
    assert!(!root.is_cancelled() && !other.is_cancelled());
    assert_eq!(child.check().unwrap_err().to_string(), "the token was cancelled");
    // Children that are gone leave nothing behind, and their places are used again.
    (0..1000).for_each(|_| drop(root.child()));
    root.cancel();
    assert!(other.is_cancelled());
    assert!(root.child().is_cancelled(), "also those that come later");
    root.wait();
}

/// Whoever returns from cancelling a token finds its whole tree cancelled, whoever was first.
#[test]
fn a_tree_is_cancelled_when_cancel_returns() {
    let _watch = watch("a tree is cancelled", 120);
    for _ in 0..200 * soak() {
        let root = CancelToken::new();
        let children: Vec<_> = (0..20).map(|_| root.child()).collect();
        let tokens: Vec<_> = children.iter().flat_map(|child| [child.clone(), child.child()]).collect();
        let barrier = std::sync::Barrier::new(3);
        std::thread::scope(|threads| {
            for _ in 0..3 {
                threads.spawn(|| {
                    barrier.wait();
                    root.cancel();
                    assert!(tokens.iter().all(CancelToken::is_cancelled));
                    assert!(tokens[0].child().is_cancelled(), "born cancelled");
                });
            }
        });
    }
}

/// What the destructor of a capture waits for may need somebody whom the same call wakes.
#[test]
fn everybody_is_woken_before_captures_are_dropped() {
    struct WaitsInDrop(Counter);
    impl Drop for WaitsInDrop {
        fn drop(&mut self) {
            self.0.wait();
        }
    }
    let _watch = watch("woken before", 60);
    let system = common::system(2);
    let (root, never, ended) = (CancelToken::new(), Counter::new(1), Counter::new(1));
    let child = root.child();
    let waits = WaitsInDrop(ended.clone());
    let held = system.job().after(&never).cancel_token(&root).spawn(move || drop(waits));
    let waiter = system.spawn(move || {
        let result = never.wait_cancellable(&child);
        ended.signal();
        result
    });
    root.cancel();
    assert!(waiter.join().expect("it ends").is_err());
    assert!(matches!(held.join(), Err(JobError::Cancelled)));
}

/// Held jobs that are submitted while their token is cancelled: no cancellation passes one by, or it would be held for ever.
#[test]
fn held_jobs_are_cancelled_while_they_are_submitted() {
    let _watch = watch("held while submitted", 120);
    let system = common::system(1);
    for round in 0..2000 * soak() as u64 {
        let (token, never) = (CancelToken::new(), Counter::new(1));
        std::thread::scope(|threads| {
            threads.spawn(|| {
                (0..Rng(round).below(100)).for_each(|_| std::hint::spin_loop());
                token.cancel();
            });
            for _ in 0..4 {
                let job = system.job().after(&never).cancel_token(&token).spawn(|| ());
                assert!(matches!(job.join(), Err(JobError::Cancelled)));
            }
        });
    }
}

/// Trees may be so deep that nothing may go through them by recursion.
#[test]
fn a_long_line_of_tokens_is_cancelled_and_dropped() {
    let _watch = watch("a long line", 120);
    for is_cancelled in [false, true] {
        let root = CancelToken::new();
        let mut last = root.clone();
        for _ in 0..200_000 {
            last = last.child();
        }
        if is_cancelled {
            root.cancel();
        }
        drop(root);
        assert_eq!(last.is_cancelled(), is_cancelled);
        drop(last);
    }
}

/// Every wait that takes a token.
fn every_wait(token: &CancelToken) -> Vec<Box<dyn Fn() -> bool + Send + Sync + '_>> {
    let (full_sender, full_receiver) = channel::bounded(1);
    full_sender.send(1).unwrap();
    let (empty_sender, empty_receiver) = channel::bounded::<u8>(1);
    vec![
        Box::new(|| Counter::new(1).wait_cancellable(token).is_err()),
        Box::new(|| Event::manual().wait_cancellable(token).is_err()),
        Box::new(|| Event::auto().wait_cancellable(token).is_err()),
        Box::new(|| ramie::sleep_cancellable(LONG, token).is_err()),
        Box::new(|| Latch::new(1).wait_cancellable(token).is_err()),
        Box::new(|| Semaphore::new(1).acquire_many_cancellable(2, token).is_err()),
        Box::new(|| {
            let (mutex, condvar) = (Mutex::new(7), Condvar::new());
            let mut guard = mutex.lock();
            let result = condvar.wait_while_cancellable(&mut guard, token, |_| true);
            // It is locked again.
            mutex.is_locked() && *guard == 7 && result.is_err()
        }),
        Box::new(move || {
            let _receiver = &full_receiver;
            full_sender.send_cancellable(2, token) == Err(TrySendError::Cancelled(2))
        }),
        Box::new(move || {
            let _sender = &empty_sender;
            empty_receiver.recv_cancellable(token) == Err(TryReceiveError::Cancelled)
        }),
        Box::new(|| {
            token.wait();
            true
        }),
    ]
}

#[test]
fn every_wait_is_cancelled_before_and_while_it_waits() {
    let _watch = watch("every wait", 120);
    for workers in WORKERS {
        let system = common::system(workers);
        let token = CancelToken::new();
        let waits = every_wait(&token);
        let begun = AtomicUsize::new(0);
        std::thread::scope(|threads| {
            // A thread for each, and a job.
            for wait in &waits {
                threads.spawn(|| {
                    begun.fetch_add(1, SeqCst);
                    assert!(wait());
                });
            }
            threads.spawn(|| {
                system.scope(|s| {
                    for wait in &waits {
                        s.detach(|| {
                            begun.fetch_add(1, SeqCst);
                            assert!(wait());
                        });
                    }
                });
            });
            spin_until(|| begun.load(SeqCst) == 2 * waits.len());
            if workers % 2 == 1 {
                // So that they really wait, most of the time.
                std::thread::sleep(Duration::from_millis(2));
            }
            token.cancel();
        });
        // Now it is cancelled.
        waits.iter().for_each(|wait| assert!(wait()));
        system.run(|| waits.iter().for_each(|wait| assert!(wait())));
        // What is there already is not refused.
        system.run(|| {
            assert_eq!(Counter::new(0).wait_cancellable(&token), Ok(()));
            let event = Event::manual();
            event.set();
            assert_eq!(event.wait_cancellable(&token), Ok(()));
            assert_eq!(Latch::new(0).wait_cancellable(&token), Ok(()));
            assert_eq!(Semaphore::new(1).acquire_cancellable(&token).unwrap().count(), 1);
            let (mutex, condvar) = (Mutex::new(()), Condvar::new());
            assert_eq!(condvar.wait_while_cancellable(&mut mutex.lock(), &token, |()| false), Ok(()));
            let (sender, receiver) = channel::bounded(1);
            sender.send_cancellable(1, &token).unwrap();
            assert_eq!(receiver.recv_cancellable(&token), Ok(1));
        });
    }
}

#[test]
fn jobs_that_were_not_started_are_dropped() {
    let _watch = watch("unstarted jobs", 60);
    for workers in WORKERS {
        let system = common::system(workers);
        let (census, ran) = (Census::default(), Arc::new(AtomicUsize::new(0)));
        let token = CancelToken::new();
        let (gate, ended) = (Counter::new(1), Counter::new(0));
        let job = |name, item: Item| {
            let ran = Arc::clone(&ran);
            (system.job().name(name).cancel_token(&token).counter(&ended), move || {
                ran.fetch_add(1, SeqCst);
                item
            })
        };
        // Held back by a counter.
        let held: Vec<_> = (0..10)
            .map(|_| {
                let (builder, f) = job("held", census.item());
                builder.after(&gate).spawn(f)
            })
            .collect();
        // Detached ones, too.
        for _ in 0..10 {
            let (builder, f) = job("detached", census.item());
            builder.after(&gate).detach(|| drop(f()));
        }
        assert_eq!(ended.value(), 20);
        token.cancel();
        ended.wait();
        for handle in held {
            assert!(matches!(handle.join(), Err(JobError::Cancelled)));
        }
        census.assert_all_dropped(20);
        // Those that come too late.
        let (builder, f) = job("late", census.item());
        assert!(matches!(builder.spawn(f).join(), Err(JobError::Cancelled)));
        let (builder, f) = job("late and held", census.item());
        assert!(matches!(builder.after(&gate).spawn(f).join(), Err(JobError::Cancelled)));
        let (builder, f) = job("late and pinned", census.item());
        builder.on_worker(workers - 1).detach(|| drop(f()));
        census.assert_all_dropped(23);
        gate.signal();
        system.wait_idle();
        assert_eq!(ran.load(SeqCst), 0);
        assert!(ended.is_zero());
    }
}

#[test]
fn jobs_that_have_started_end_by_themselves() {
    let _watch = watch("started jobs", 60);
    let system = common::system(1);
    let token = CancelToken::new();
    let (begun, go_on) = (Counter::new(1), Counter::new(1));
    let handle = system.job().cancel_token(&token).spawn({
        let (begun, go_on, token) = (begun.clone(), go_on.clone(), token.clone());
        move || {
            begun.signal();
            go_on.wait();
            token.is_cancelled()
        }
    });
    begun.wait();
    token.cancel();
    go_on.signal();
    assert!(handle.join().unwrap());
    // A token that outlives its jobs, and one that does not.
    let token = CancelToken::new();
    assert_eq!(system.job().cancel_token(&token).spawn(|| 1).join().unwrap(), 1);
    token.cancel();
    let short = CancelToken::new();
    let job = system.job().cancel_token(&short).spawn(|| 2);
    drop(short);
    assert_eq!(job.join().unwrap(), 2);
}

#[test]
fn a_scope_ends_without_its_unstarted_members() {
    let _watch = watch("scopes", 60);
    for workers in WORKERS {
        let system = common::system(workers);
        let (census, token) = (Census::default(), CancelToken::new());
        let started = AtomicUsize::new(0);
        let (mut borrowed, never) = ([0; 100], Counter::new(1));
        system.run(|| {
            token.scope(|s| {
                for (n, place) in borrowed.iter_mut().enumerate() {
                    let (item, started, token) = (census.item(), &started, &token);
                    let body = move || {
                        let _item = item;
                        started.fetch_add(1, SeqCst);
                        *place = n;
                        token.wait();
                    };
                    if n % 2 == 0 {
                        s.detach(body);
                    } else {
                        drop(s.spawn(body));
                    }
                }
                let last = s.job().name("last").after(&never).spawn(|| ());
                token.cancel();
                assert!(matches!(last.join(), Err(JobError::Cancelled)));
            });
        });
        census.assert_all_dropped(100);
        assert!(started.into_inner() <= 100);
        // A panic of a member comes out as ever.
        let payload = panic_of(|| CancelToken::new().scope(|s| s.detach(|| planned(4))));
        assert_eq!(planned_id(&*payload), 4);
    }
}

/// Cancelled twice in a row with what is handed over between threads.
#[test]
fn jobs_start_end_and_are_cancelled_in_races() {
    let _watch = watch("races of jobs", 300);
    let seed = common::seed();
    for workers in WORKERS {
        let system = common::system(workers);
        let census = Census::default();
        let (rounds, each) = (100 * soak() as u64, 20);
        for round in 0..rounds {
            let (token, ended) = (CancelToken::new(), Counter::new(0));
            let gate = Counter::new(1);
            std::thread::scope(|threads| {
                threads.spawn(|| {
                    (0..Rng(seed ^ round).below(200)).for_each(|_| std::hint::spin_loop());
                    token.cancel();
                });
                let mut rng = Rng(common::mix(seed ^ round));
                for n in 0..each {
                    let item = census.item();
                    let job = system.job().cancel_token(&token).counter(&ended);
                    let job = if n % 3 == 0 { job.after(&gate) } else { job };
                    match rng.below(4) {
                        0 => drop(job.spawn(move || item)),
                        1 => drop(job.spawn(move || item).cancel()),
                        2 => match job.spawn(move || drop(item)) {
                            handle if n % 3 != 0 => drop(handle.join()),
                            handle => drop(handle),
                        },
                        _ => job.detach(move || drop(item)),
                    }
                    if n == 10 {
                        gate.signal();
                    }
                }
            });
            ended.wait();
        }
        system.wait_idle();
        census.assert_all_dropped((rounds * each) as usize);
    }
}

/// A system is abandoned while jobs are submitted to it that have a token, and while that is cancelled: whoever claims a job drops it, and no
/// token goes on to know of it.
#[test]
fn systems_are_abandoned_beside_submissions_with_tokens() {
    let _watch = watch("abandon with tokens", 300);
    let seed = common::seed();
    for workers in WORKERS {
        for round in 0..20 * soak() as u64 {
            let (system, census) = (common::system(workers), Census::default());
            let (token, made, begun) = (CancelToken::new(), AtomicUsize::new(0), Counter::new(2));
            let never = Counter::new(1);
            std::thread::scope(|threads| {
                for thread in 0..2 {
                    let (system, census, token) = (&system, &census, &token);
                    let (made, begun, never) = (&made, &begun, &never);
                    threads.spawn(move || {
                        let mut rng = Rng(common::mix(seed ^ round ^ thread << 32));
                        for n in 0..200 {
                            if n == 10 {
                                // Before anything is waited for that only the end of all can end.
                                begun.signal();
                            }
                            made.fetch_add(1, SeqCst);
                            let item = census.item();
                            let own = if n % 7 == 0 { token.child() } else { token.clone() };
                            let job = system.job().cancel_token(&own);
                            match rng.below(if n < 10 { 1 } else { 4 }) {
                                0 => drop(job.spawn(move || item)),
                                1 => drop(job.after(never).spawn(move || item).join()),
                                2 => drop(job.spawn(move || drop(item)).join()),
                                _ => job.detach(move || drop(item)),
                            }
                        }
                    });
                }
                threads.spawn(|| {
                    begun.wait();
                    (0..Rng(seed ^ round).below(2000)).for_each(|_| std::hint::spin_loop());
                    token.cancel();
                });
                begun.wait();
                (0..Rng(common::mix(seed) ^ round).below(2000)).for_each(|_| std::hint::spin_loop());
                system.shutdown(ramie::Drain::Abandon).expect("from outside");
            });
            assert!(system.shutdown(ramie::Drain::Finish).expect("from outside").finished);
            census.assert_all_dropped(made.into_inner());
            token.cancel();
        }
    }
}

/// A tree of jobs and waits that is cancelled at some moment, by one of its own jobs or from outside.
struct Tree<'a> {
    seed: u64,
    token: &'a CancelToken,
    census: &'a Census,
    /// How many suspension points were passed, and at which of them the tree cancels itself.
    passed: &'a AtomicUsize,
    cancel_at: usize,
}

impl Tree<'_> {
    fn grow(&self, rng: &mut Rng, depth: u32) -> Result<(), Cancelled> {
        let _item = self.census.item();
        for _ in 0..1 + rng.below(3) {
            self.point()?;
            match rng.below(8) {
                0 => Counter::new(1).wait_cancellable(self.token)?,
                1 => ramie::sleep_cancellable(Duration::from_micros(rng.below(50)), self.token)?,
                2 => {
                    let event = Event::auto();
                    let (event, item) = (&event, self.census.item());
                    self.token.scope(|s| {
                        s.detach(move || {
                            let _item = item;
                            event.set();
                        });
                        // Whoever would set it may have been dropped.
                        event.wait_cancellable(self.token)
                    })?;
                }
                3 => {
                    let (sender, receiver) = channel::bounded(1);
                    let item = self.census.item();
                    self.token.scope(|s| {
                        s.detach(move || drop(sender.send(item)));
                        // The sender is dropped with its job.
                        let _ = receiver.recv();
                    });
                }
                4 => ramie::yield_now(),
                _ if depth > 0 => self.branch(rng, depth - 1)?,
                _ => {}
            }
        }
        self.token.check()
    }

    fn branch(&self, rng: &mut Rng, depth: u32) -> Result<(), Cancelled> {
        let child = self.token.child();
        let tree = Tree { token: &child, ..*self };
        child.scope(|s| {
            for n in 0..1 + rng.below(4) {
                let (tree, item) = (&tree, self.census.item());
                let mut rng = Rng(common::mix(self.seed ^ rng.next() ^ n));
                s.detach(move || {
                    let _item = item;
                    let _ = tree.grow(&mut rng, depth);
                });
            }
        });
        self.token.check()
    }

    /// A place where it may be suspended.
    fn point(&self) -> Result<(), Cancelled> {
        if self.passed.fetch_add(1, SeqCst) == self.cancel_at {
            self.token.cancel();
        }
        self.token.check()
    }
}

#[test]
fn a_random_tree_is_cancelled_at_every_point() {
    let _watch = watch("trees", 300);
    let seed = common::seed();
    for workers in WORKERS {
        let system = common::system(workers);
        for case in 0..6 * soak() as u64 {
            let mut cancel_at = 0;
            loop {
                let (census, root, passed) = (Census::default(), CancelToken::new(), AtomicUsize::new(0));
                let tree = Tree {
                    seed: common::mix(seed ^ case),
                    token: &root,
                    census: &census,
                    passed: &passed,
                    cancel_at,
                };
                let is_done = AtomicBool::new(false);
                std::thread::scope(|threads| {
                    // Some wait for what never comes: then it is the one outside who cancels, when nothing moves any more.
                    threads.spawn(|| {
                        let mut before = (usize::MAX, 0);
                        while !is_done.load(SeqCst) {
                            std::thread::sleep(Duration::from_micros(300));
                            let now = passed.load(SeqCst);
                            before = if before.0 == now { (now, before.1 + 1) } else { (now, 0) };
                            if before.1 > 3 {
                                root.cancel();
                            }
                        }
                    });
                    system.run(|| {
                        let _ = tree.grow(&mut Rng(tree.seed), 3);
                    });
                    is_done.store(true, SeqCst);
                });
                let made = census.made();
                census.assert_all_dropped(made);
                let points = passed.into_inner();
                if cancel_at >= points {
                    break;
                }
                // Every point of small trees, and a part of those of large ones.
                cancel_at += 1 + points / 12;
            }
        }
        system.wait_idle();
        assert!(system.dump().is_empty(), "{}", system.dump());
    }
}

#[test]
fn tokens_and_waits_of_other_systems() {
    let _watch = watch("two systems", 60);
    let systems: [JobSystem; 2] = [common::system(1), common::system(2)];
    let token = CancelToken::new();
    let waits: Vec<_> = systems
        .iter()
        .flat_map(|system| {
            let token = &token;
            (0..50).map(move |_| {
                let token = token.clone();
                system.spawn(move || Counter::new(1).wait_cancellable(&token))
            })
        })
        .collect();
    systems[0].run(|| token.cancel());
    for wait in waits {
        assert!(wait.join().unwrap().is_err());
    }
}

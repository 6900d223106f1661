//! Fiber-locals: one for each job, across waits, in inlined children, and dropped at the job's end.

mod common;

use common::{Census, Item, Rng, WORKERS, planned, watch};
use ramie::{Counter, FiberLocalError, JobError};
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

ramie::fiber_local! {
    static NUMBER: Cell<u64> = Cell::new(0);
    /// Not `Send`.
    pub(crate) static LIST: RefCell<Vec<Rc<u64>>> = RefCell::new(vec![Rc::new(1)]);
    static ITEM: OnceCell<Item> = OnceCell::new();
}

#[test]
fn each_job_has_its_own_across_waits() {
    let _watch = watch("own", 120);
    let seed = common::seed();
    for workers in WORKERS {
        let system = common::system(workers);
        system.scope(|s| {
            for job in 1..200_u64 {
                s.detach(move || {
                    let mut rng = Rng(common::mix(seed ^ job));
                    assert_eq!(NUMBER.get(), 0);
                    NUMBER.set(job);
                    for _ in 0..5 {
                        match rng.below(4) {
                            0 => ramie::yield_now(),
                            1 => ramie::spawn(move || assert_eq!(NUMBER.replace(7), 0)).join().unwrap(),
                            2 => ramie::scope(|s| {
                                s.detach(|| assert_eq!(NUMBER.replace(8), 0));
                                drop(s.spawn(|| assert_eq!(NUMBER.replace(9), 0)));
                            }),
                            _ => {
                                let (sum, done) = (AtomicUsize::new(0), Counter::new(1));
                                let signal = done.clone();
                                ramie::spawn(move || signal.signal());
                                done.wait();
                                ramie::par(0..100).for_each(|_| {
                                    sum.fetch_add(1, SeqCst);
                                });
                            }
                        }
                        assert_eq!(NUMBER.get(), job);
                    }
                });
            }
        });
    }
}

#[test]
fn a_child_that_runs_in_place_has_its_own() {
    let system = common::system(1);
    system.run(|| {
        NUMBER.set(1);
        // With one worker, and nothing else to do, the joined job runs on this very fiber.
        let seen = ramie::spawn(|| {
            let before = NUMBER.get();
            NUMBER.set(2);
            let inner = ramie::spawn(|| NUMBER.replace(3)).join().unwrap();
            (before, inner, NUMBER.get())
        });
        assert_eq!(seen.join().unwrap(), (0, 0, 2));
        assert_eq!(NUMBER.get(), 1);
        LIST.with_borrow_mut(|list| list.push(Rc::new(2)));
        ramie::scope(|s| s.detach(|| LIST.with_borrow(|list| assert_eq!(list.len(), 1))));
        LIST.with_borrow(|list| assert_eq!(list.len(), 2));
        // The parts of a join that run in place are parts of this job.
        let (a, b) = ramie::join(|| NUMBER.get(), || NUMBER.get());
        assert_eq!((a, b), (1, 1));
    });
    // Gone with the job.
    assert_eq!(system.run(|| NUMBER.get()), 0);
}

#[test]
fn locals_are_dropped_at_the_end_of_their_job_before_its_counters() {
    let _watch = watch("drops", 60);
    let census = Census::default();
    let mut made = 0;
    for workers in WORKERS {
        let system = common::system(workers);
        for kind in 0..4 {
            let ended = Counter::new(0);
            let (item, seen) = (census.item(), census.dropped());
            made += 1;
            let handle = system.job().counter(&ended).spawn(move || {
                ITEM.with(|place| assert!(place.set(item).is_ok()));
                ramie::yield_now();
                match kind {
                    0 => planned(1),
                    1 => drop(ramie::spawn(ramie::yield_now).join()),
                    _ => {}
                }
            });
            ended.wait();
            assert_eq!(census.dropped(), seen + 1, "before the counter is signalled");
            let result = handle.join();
            assert_eq!(matches!(result, Err(JobError::Panicked(_))), kind == 0);
        }
    }
    census.assert_all_dropped(made);
}

/// Says when it is dropped, and uses other locals then.
struct Last(Arc<Mutex<Vec<&'static str>>>, &'static str);

impl Drop for Last {
    fn drop(&mut self) {
        self.0.lock().unwrap().push(self.1);
        if self.1 == "second" {
            // The one that was made before is still there; what was dropped, or never made, is not.
            assert!(FIRST.try_with(|first| first.get().is_some()).unwrap());
            assert_eq!(SECOND.try_with(|_| ()), Err(FiberLocalError::Ended));
            assert_eq!(NUMBER.try_with(Cell::get), Err(FiberLocalError::Ended));
            // A destructor may wait.
            ramie::yield_now();
        }
    }
}

ramie::fiber_local! {
    static FIRST: OnceCell<Last> = OnceCell::new();
    static SECOND: OnceCell<Last> = OnceCell::new();
}

#[test]
fn the_last_one_is_dropped_first_and_destructors_may_use_others() {
    let _watch = watch("order", 60);
    let system = common::system(1);
    let order = Arc::new(Mutex::new(Vec::new()));
    let (first, second) = (Last(Arc::clone(&order), "first"), Last(Arc::clone(&order), "second"));
    system.spawn(move || {
        FIRST.with(|place| assert!(place.set(first).is_ok()));
        SECOND.with(|place| assert!(place.set(second).is_ok()));
    });
    system.wait_idle();
    assert_eq!(*order.lock().unwrap(), ["second", "first"]);
}

struct Explodes;

impl Drop for Explodes {
    fn drop(&mut self) {
        planned(9);
    }
}

ramie::fiber_local! {
    static EXPLODES: Explodes = Explodes;
    static FAILS: Cell<u32> = planned(11);
}

#[test]
fn panics_of_destructors_are_reported_and_initialisers_may_fail_or_recurse() {
    let _watch = watch("panics", 60);
    let reported = Arc::new(AtomicUsize::new(0));
    let theirs = Arc::clone(&reported);
    let system = common::builder()
        .workers(1)
        .on_panic(move |report| {
            assert_eq!(report.kind, ramie::PanicKind::Destructor);
            theirs.fetch_add(1, SeqCst);
        })
        .build()
        .unwrap();
    system.run(|| EXPLODES.with(|_| ()));
    system.wait_idle();
    assert_eq!(reported.load(SeqCst), 1);
    system.run(|| {
        let payload = common::panic_of(|| FAILS.get());
        assert_eq!(common::planned_id(&*payload), 11);
        // Nothing was kept, so it is tried again.
        common::panic_of(|| FAILS.get());
    });
}

#[test]
fn an_initialiser_that_uses_its_own_local_does_not_go_on_for_ever() {
    // Without an end the stack would overflow: the expression is evaluated for each use that finds nothing.
    let system = common::system(1);
    let seen = system.run(|| ONCE.get());
    assert_eq!(seen, 1, "the inner one was made first, and stays");
}

ramie::fiber_local! {
    static DEPTH: Cell<u32> = Cell::new(0);
    static ONCE: Cell<u32> = {
        DEPTH.set(DEPTH.get() + 1);
        if DEPTH.get() == 1 {
            // Evaluates this expression once more.
            ONCE.set(1);
            Cell::new(2)
        } else {
            Cell::new(0)
        }
    };
}

#[test]
fn there_are_none_outside_of_jobs() {
    assert_eq!(NUMBER.try_with(Cell::get), Err(FiberLocalError::NotInJob));
    let message = common::message(&*common::panic_of(|| NUMBER.get()));
    assert!(message.contains("not called inside"), "{message}");
    // Nor on helper threads, nor in callbacks.
    let system = common::system(1);
    let on_helper = system.run(|| ramie::blocking(|| NUMBER.try_with(Cell::get)));
    assert_eq!(on_helper, Err(FiberLocalError::NotInJob));
}

/// Dumps read a job's place while it comes and goes with locals.
#[test]
fn dumps_see_the_place_of_a_job_with_locals() {
    let _watch = watch("dumps", 60);
    let system = common::system(2);
    let (begun, go_on) = (Counter::new(1), Counter::new(1));
    let job = system.job().name("with locals").spawn({
        let (begun, go_on) = (begun.clone(), go_on.clone());
        move || {
            NUMBER.set(1);
            begun.signal();
            go_on.wait();
        }
    });
    begun.wait();
    assert!(
        system.dump().fibers.iter().any(|fiber| fiber.job_name == Some("with locals")),
        "{}",
        system.dump()
    );
    go_on.signal();
    job.join().unwrap();
    let stop = Arc::new(AtomicUsize::new(0));
    let dumping = std::thread::spawn({
        let (system, stop) = (system.clone(), Arc::clone(&stop));
        move || {
            while stop.load(SeqCst) == 0 {
                let _ = system.dump().to_string();
            }
        }
    });
    system.scope(|s| {
        (0..20_000).for_each(|n| {
            s.detach(move || NUMBER.set(n));
        });
    });
    stop.store(1, SeqCst);
    dumping.join().unwrap();
}

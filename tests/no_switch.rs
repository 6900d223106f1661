//! A job that never waits costs no context switch: counted, not timed.

mod common;

use common::{spin_until, system, watch};
use ramie::{Counter, JobSystem, Stats};

/// The switches so far, once the only worker sleeps and nothing changes any more.
fn settled(system: &JobSystem) -> Stats {
    system.wait_idle();
    spin_until(|| system.dump().to_string().contains("1 workers of which 1 sleep"));
    system.stats()
}

/// Switches to fibers and suspensions during `f`, on a system with one worker.
fn switches(f: impl FnOnce(&JobSystem)) -> (u64, u64) {
    let system = system(1);
    // The first job ever may have the root hand a fiber over.
    system.run(|| ());
    let before = settled(&system);
    f(&system);
    let after = settled(&system);
    (after.resumes - before.resumes, after.suspensions - before.suspensions)
}

#[test]
fn jobs_that_never_wait_do_not_switch() {
    let _watch = watch("no switch", 60);
    let many = switches(|system| (0..10_000).for_each(|_| drop(system.spawn(|| ()))));
    assert_eq!(many, (0, 0), "10,000 jobs from outside");
    let inside = switches(|system| system.run(|| (0..10_000).for_each(|_| drop(ramie::spawn(|| ())))));
    assert_eq!(inside, (0, 0), "10,000 jobs from inside");
    let batch = switches(|system| system.spawn_batch((0..10_000).map(|_| || ())).wait());
    assert_eq!(batch, (0, 0), "a batch from outside");
}

#[test]
fn joins_without_thieves_do_not_switch() {
    let _watch = watch("join", 60);
    fn fib(n: u32) -> u64 {
        if n < 2 {
            return u64::from(n);
        }
        let (a, b) = ramie::join(|| fib(n - 1), || fib(n - 2));
        a + b
    }
    assert_eq!(switches(|system| assert_eq!(system.run(|| fib(20)), 6765)), (0, 0));
}

#[test]
fn scopes_batches_handles_and_loops_without_thieves_do_not_switch() {
    let _watch = watch("others", 60);
    let all = switches(|system| {
        system.run(|| {
            for _ in 0..100 {
                ramie::scope(|s| (0..10).for_each(|_| drop(s.spawn(|| ()))));
                ramie::spawn_batch((0..10).map(|_| || ())).wait();
                assert_eq!(ramie::spawn(|| 5).join().expect("it runs"), 5);
                ramie::par(0..1000_u32).for_each(|_| ());
                ramie::par(0..1000_u32).partition(ramie::Partition::Static(8)).for_each(|_| ());
                Counter::new(0).wait();
            }
        });
    });
    assert_eq!(all, (0, 0));
}

/// Each wait costs one suspension, and one switch to go on; besides, one to the fiber that goes on working meanwhile.
#[test]
fn a_wait_costs_one_suspension() {
    let _watch = watch("waits", 60);
    let (resumes, suspensions) = switches(|system| {
        system.run(|| {
            for _ in 0..1000 {
                let gate = Counter::new(1);
                let theirs = gate.clone();
                drop(ramie::spawn(move || theirs.signal()));
                gate.wait();
            }
        });
    });
    assert_eq!(suspensions, 1000);
    assert_eq!(resumes, 2000);
}

//! Runs on ramie with `panic = "abort"`; see `tests/panic_abort.rs`. With an argument, a job panics.

use ramie::{Counter, JobSystem};

fn main() {
    let panics = std::env::args().nth(1).is_some();
    let system = JobSystem::builder().workers(2).build().expect("a system");
    let sum = system.run(|| {
        let gate = Counter::new(1);
        let theirs = gate.clone();
        let waiter = ramie::spawn(move || {
            theirs.wait();
            5
        });
        ramie::yield_now();
        gate.signal();
        let (a, b) = ramie::join(|| 1, || 2);
        let mut c = 0;
        ramie::scope(|s| drop(s.spawn(|| c = 3)));
        let d = ramie::par(0..100_u32).map_reduce(0, |n| n, |a, b| a + b);
        waiter.join().expect("it runs") + a + b + c + d
    });
    println!("sum {sum}");
    if panics {
        let outcome = system.spawn(|| panic!("as planned")).join();
        println!("not reached: {}", outcome.is_err());
    }
}

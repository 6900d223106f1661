use ramie::*;
use std::time::*;
fn fib(n: u32) -> u64 { if n < 2 { n as u64 } else { let (a, b) = join(|| fib(n - 1), || fib(n - 2)); a + b } }
#[test]
fn smoke() {
    for w in [1, 2, 3, 8] {
        let sys = JobSystem::builder().workers(w).build().unwrap();
        eprintln!("{w} run");
        assert_eq!(sys.run(|| 42), 42);
        eprintln!("fib");
        let t = Instant::now();
        assert_eq!(sys.run(|| fib(27)), 196418);
        eprintln!("fib {:?}", t.elapsed());
        let c = Counter::new(100);
        let hs: Vec<_> = (0..100).map(|i| { let c = c.clone(); sys.spawn(move || { c.signal(); i }) }).collect();
        c.wait();
        for (i, h) in hs.into_iter().enumerate() { assert_eq!(h.join().unwrap(), i); }
        eprintln!("scope");
        let t = Instant::now();
        let n = std::sync::atomic::AtomicUsize::new(0);
        sys.run(|| scope(|s| for _ in 0..100000 { s.spawn(|| { n.fetch_add(1, std::sync::atomic::Ordering::Relaxed); }); }));
        assert_eq!(n.into_inner(), 100000);
        eprintln!("scope {:?}", t.elapsed());
        sys.run(|| {
            let gate = Counter::new(1);
            let done = Counter::new(1000);
            for _ in 0..1000 { let (g, d) = (gate.clone(), done.clone()); spawn(move || { g.wait(); d.signal(); }); }
            assert_eq!(done.wait_timeout(Duration::from_millis(20)), Err(TimedOutX()));
            gate.signal();
            done.wait();
        });
        let v = sys.par(0..1000u64).map_reduce(0, |x| x, |a, b| a + b);
        assert_eq!(v, 499500);
        assert_eq!(sys.broadcast(|| current_worker().unwrap()), (0..w).collect::<Vec<_>>());
        sys.wait_idle();
        eprintln!("{:?}", sys.stats());
        drop(sys);
    }
}
#[allow(non_snake_case)] fn TimedOutX() -> TimedOut { Counter::new(1).wait_timeout(Duration::ZERO).unwrap_err() }

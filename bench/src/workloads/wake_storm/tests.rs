use std::sync::mpsc;

use super::*;

#[test]
fn a_storm_is_over_when_its_last_job_has_run() {
    let params = Params { workers: 1, quick: true, soft_limit: Duration::ZERO };
    let (sender, jobs) = mpsc::channel::<Raindrop>();
    let worker = thread::spawn(move || jobs.into_iter().map(Raindrop::run).count());
    let measured = measure(&params, |drops| drops.for_each(|drop| sender.send(drop).unwrap()));
    drop(sender);
    assert_eq!(worker.join().unwrap(), (WARM_UPS + STORMS_LEAST) * JOBS);
    let names: Vec<_> = measured.values.iter().map(|value| value.metric.as_str()).collect();
    assert_eq!(names, ["p50", "p99", "processor"]);
}

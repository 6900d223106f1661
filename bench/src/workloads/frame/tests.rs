use std::time::Duration;

use super::*;

#[test]
fn serial_frames_are_ideal_and_two_workers_that_do_not_share_take_twice_the_ideal() {
    for workers in [1, 2] {
        let params = Params { workers, quick: true, soft_limit: Duration::from_secs(5) };
        let measured = measure(&params, |job| (0..BARRIERS * JOBS).for_each(|_| job.run()));
        let [p50, p99] = [0, 1].map(|index| measured.values[index].value);
        assert!((0.8..1.25).contains(&(p50 / workers as f64)), "p50 with {workers} workers: {p50}");
        assert!(p99 >= p50);
    }
}

#[test]
fn slow_frames_are_few() {
    let mut frames = 0;
    let params = Params { workers: 1, quick: false, soft_limit: Duration::ZERO };
    measure(&params, |_| frames += 1);
    assert_eq!(frames, FRAMES_LEAST + WARM_UP_FRAMES);
}

use super::*;

#[test]
fn work_lasts_at_least_about_as_long_as_it_was_asked_to() {
    let busy = Busy::calibrate();
    let time = Duration::from_millis(2);
    // The fastest of several, because others may preempt this thread; and it cannot be much faster than the
    // fastest trial was, unless the processor's speed has changed meanwhile.
    let fastest_ns = (0..10).map(|_| time_ns(|| busy.work(time))).fold(f64::INFINITY, f64::min);
    assert!(fastest_ns > 0.5 * time.as_nanos() as f64, "{fastest_ns} ns");
}

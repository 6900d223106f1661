use super::*;

#[test]
fn both_cases_yield_their_metrics_and_a_case_that_is_missing_none() {
    let params = Params { workers: 2, quick: true, soft_limit: Duration::ZERO };
    let thief = |meeting: &'static Meeting| drop(thread::spawn(|| meeting.occupy()));
    let owner = |meeting: &'static Meeting| {
        thread::spawn(|| {
            meeting.begin();
            let work = thread::spawn(|| meeting.start());
            work.join().unwrap();
            meeting.end();
        });
    };
    let names = |spawner, joiner| -> Vec<String> {
        let measured = measure(&params, &Submit { thief: &thief, spawner, joiner });
        assert!(measured.values.iter().all(|value| value.value > 0.0), "{measured:?}");
        measured.values.into_iter().map(|value| value.metric).collect()
    };
    let all: Vec<_> = WORKLOAD.metrics.iter().map(|metric| metric.name).collect();
    assert_eq!(names(Some(&owner), Some(&owner)), all);
    assert_eq!(names(None, Some(&owner)), all[2..]);
}

#[test]
fn of_several_starts_the_first_counts() {
    let meeting = Meeting::new();
    meeting.start();
    let first = meeting.started.load(Ordering::Relaxed);
    meeting.start();
    assert_eq!(meeting.started.load(Ordering::Relaxed), first);
}

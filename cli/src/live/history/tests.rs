use ramie::JobSystem;

use super::*;

/// Statistics of two workers that have done nothing yet.
fn stats() -> Stats {
    let mut stats = JobSystem::builder().workers(2).build().expect("two threads are to be had").stats();
    stats.elapsed = Duration::ZERO;
    stats.busy = vec![Duration::ZERO; 2];
    stats.queue_depths = vec![0; 2];
    stats
}

/// The same later, after the first worker was busy all the time and the second half of it.
fn after(before: &Stats, milliseconds: u64) -> Stats {
    let mut stats = before.clone();
    stats.elapsed += Duration::from_millis(milliseconds);
    stats.busy[0] += Duration::from_millis(milliseconds);
    stats.busy[1] += Duration::from_millis(milliseconds / 2);
    stats
}

#[test]
fn a_snapshot_is_what_changed_between_two_statistics() {
    let before = stats();
    let mut now = after(&before, 100);
    now.queue_depths = vec![7, 0];
    now.fibers = 5;
    now.unstarted = 2;
    let snapshot = Snapshot::between(&before, &now);
    let workers: Vec<_> =
        snapshot.workers.iter().map(|worker| (worker.name.as_str(), worker.busy, worker.queued)).collect();
    assert_eq!(workers, [("0", 1.0, 7), ("1", 0.5, 0)]);
    assert_eq!((snapshot.busy, snapshot.fibers, snapshot.unstarted), (0.75, 5, 2));
    assert_eq!(Snapshot::between(&now, &now).busy, 0.0, "no time is no division by zero");
}

#[test]
fn background_workers_come_last_and_do_not_count_for_the_whole() {
    let mut before = stats();
    before.background.busy = vec![Duration::ZERO];
    let mut now = after(&before, 100);
    now.background.busy = vec![Duration::from_millis(25)];
    now.queue_depths = vec![0, 0, 9];
    let snapshot = Snapshot::between(&before, &now);
    assert_eq!(
        snapshot.workers[2],
        super::super::snapshot::Worker { name: "bg 0".into(), busy: 0.25, queued: 9 }
    );
    assert_eq!(snapshot.busy, 0.75);
}

#[test]
fn rates_are_per_second_and_the_most_frequent_reasons_come_first() {
    let mut before = stats();
    before.suspensions_by_reason.locks = 1000;
    let mut now = after(&before, 500);
    (now.jobs, now.steals, now.wakes) = (before.jobs + 30, before.steals + 4, before.wakes + 1);
    now.steals_by_distance.cache += 4;
    now.suspensions_by_reason.counters = 10;
    now.suspensions_by_reason.jobs = 20;
    let rates = Rates::between(&before, &now);
    assert_eq!((rates.jobs, rates.steals, rates.wakes, rates.parks), (60, 8, 2, 0));
    assert_eq!(rates.steals_by_distance[1], ("same cache", 8));
    assert_eq!(rates.suspensions_by_reason, [("locks", 0), ("jobs", 40), ("counters", 20)]);
}

#[test]
fn bars_are_of_the_last_redraw_and_rates_of_the_last_second() {
    let first = stats();
    let mut history = History::new(first.clone());
    let mut now = first;
    // Two seconds with 10 jobs and a frame in each tenth of the first, and nothing in the second.
    for tenth in 1..=20 {
        now = after(&now, 100);
        now.jobs += if tenth <= 10 { 10 } else { 0 };
        history.add(now.clone(), tenth.min(10));
        if tenth == 10 {
            let view = history.view(40, Vec::new());
            assert_eq!((view.rates.jobs, view.frames, view.frames_per_second), (100, 10, 10.0));
        }
    }
    let mut last = now.clone();
    last.elapsed += Duration::from_millis(100);
    history.add(last, 10);
    let view = history.view(40, Vec::new());
    assert_eq!((view.rates.jobs, view.frames_per_second), (0, 0.0));
    assert_eq!((view.now.busy, view.elapsed), (0.0, Duration::from_millis(2100)));
    assert_eq!(view.minute, [75, 75, 0], "two seconds, and the one that goes on");
}

#[test]
fn a_minute_is_remembered() {
    let mut now = stats();
    let mut history = History::new(now.clone());
    for _ in 0..150 {
        now = after(&now, 500);
        history.add(now.clone(), 0);
        assert!(history.view(1, Vec::new()).minute.len() <= COLUMNS);
    }
    assert_eq!(history.view(1, Vec::new()).minute, [75; COLUMNS - 1]);
    history.add(after(&now, 500), 0);
    assert_eq!(history.view(1, Vec::new()).minute, [75; COLUMNS]);
}

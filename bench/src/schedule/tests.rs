use super::*;

const FULL: Limits = Limits { least: 3, most: 7 };
const QUICK: Limits = Limits { least: 1, most: 3 };

fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

/// A benchmark of the size that the harness has: most workloads on 13 systems with one worker and with two.
fn wishes(quick: bool) -> Vec<Wish> {
    let usual = (0..30).map(|_| Wish { cells: 26, run: usual_time("fib", quick) });
    let long = LONG.iter().map(|(name, _)| Wish { cells: 20, run: usual_time(name, quick) });
    usual.chain(long).collect()
}

/// What the runs of all `wishes` take together. In each workload one cell hangs until it is killed, as often as that is
/// tried; of the other cells every fifth takes a round of `slow`, and the rest what their share or nature allows.
fn simulate(time: Duration, wishes: &[Wish], limits: Limits, hang: Duration, slow: Duration) -> Duration {
    let mut passed = Duration::ZERO;
    for (index, wish) in wishes.iter().enumerate() {
        let share = share(time.saturating_sub(passed), &wishes[index..], limits);
        let first_run = |cell: usize| match cell {
            0 => FirstRun { took: hang, showed: Showed::Hangs(2.min(limits.most - 1)) },
            _ if cell % 5 == 4 => FirstRun { took: slow, showed: Showed::Slow },
            _ => FirstRun { took: share.soft_limit.min(wish.run), showed: Showed::Usual },
        };
        let first_runs: Vec<FirstRun> = (0..wish.cells).map(first_run).collect();
        let once: Duration = first_runs.iter().map(|first| first.took).sum();
        let runs = runs_of(&first_runs, share.all.saturating_sub(once), limits);
        let took = |(first, runs): (&FirstRun, usize)| first.took * runs as u32;
        passed += first_runs.iter().zip(runs).map(took).sum::<Duration>();
    }
    passed
}

#[test]
fn a_full_run_takes_an_hour_and_a_quick_one_five_minutes() {
    let full = wishes(false);
    let took = simulate(minutes(60), &full, FULL, Duration::from_secs(20), Duration::from_millis(1_500));
    assert!(took <= minutes(60) && took > minutes(30), "{took:?}");
    let quick = wishes(true);
    let took = simulate(minutes(5), &quick, QUICK, Duration::ZERO, Duration::from_millis(200));
    assert!(took <= minutes(5) && took > minutes(2), "{took:?}");
    let estimate = estimate(minutes(5), &quick, QUICK);
    assert!(estimate.usual <= estimate.most && estimate.most <= minutes(5), "{estimate:?}");
}

#[test]
fn with_much_time_there_are_all_runs_and_with_little_the_fewest() {
    let wishes =
        [Wish { cells: 10, run: Duration::from_secs(1) }, Wish { cells: 10, run: Duration::from_secs(1) }];
    let much = share(minutes(60), &wishes, FULL);
    assert_eq!((much.runs, much.soft_limit, much.all), (7, Duration::from_secs(2), minutes(51) / 2));
    let some = share(minutes(2), &wishes, FULL);
    assert_eq!(some.runs, 5);
    assert!(some.soft_limit >= Duration::from_secs(1), "{some:?}");
    let little = share(Duration::from_secs(10), &wishes, FULL);
    assert_eq!(little.runs, 3);
    assert!(little.soft_limit < Duration::from_millis(150), "{little:?}");
    assert_eq!(share(Duration::ZERO, &wishes, FULL).soft_limit, SHARE_MIN);
}

#[test]
fn a_workload_that_takes_longer_by_nature_has_a_larger_share() {
    let wish = |name| Wish { cells: 5, run: usual_time(name, false) };
    let share_of = |first, second| share(minutes(1), &[wish(first), wish(second)], FULL).soft_limit;
    let factor = share_of("outside", "fib").as_secs_f64() / share_of("fib", "outside").as_secs_f64();
    assert!((factor - 3.75).abs() < 0.01, "{factor}");
}

#[test]
fn further_runs_are_as_many_as_there_is_time_for_and_fewer_of_slow_systems() {
    let first_run = |seconds, showed| FirstRun { took: Duration::from_secs(seconds), showed };
    let first_runs = [first_run(1, Showed::Usual), first_run(5, Showed::Slow)];
    assert_eq!(runs_of(&first_runs, minutes(1), FULL), [7, 3]);
    assert_eq!(runs_of(&first_runs, Duration::from_secs(14), FULL), [5, 3]);
    assert_eq!(runs_of(&first_runs, Duration::from_secs(2), FULL), [3, 3], "the fewest, whatever they take");
    assert_eq!(runs_of(&first_runs, Duration::ZERO, FULL), [1, 1], "the time is up");
    assert_eq!(runs_of(&first_runs, Duration::from_secs(6), QUICK), [2, 2]);
    assert_eq!(
        runs_of(&first_runs, minutes(1), Limits { least: 11, most: 11 }),
        [11, 11],
        "as was asked for"
    );
}

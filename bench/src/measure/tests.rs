use std::time::Duration;

use super::*;

#[test]
fn the_median_is_the_middle_or_the_mean_of_the_middle_two() {
    assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
    assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    assert_eq!(median(vec![7.0]), 7.0);
}

#[test]
fn percentiles_are_samples() {
    let mut samples: Vec<f64> = (1..=100).map(f64::from).collect();
    assert_eq!(percentile(&mut samples, 50.0), 50.0);
    assert_eq!(percentile(&mut samples, 99.0), 99.0);
    assert_eq!(percentile(&mut samples, 100.0), 100.0);
    assert_eq!(percentile(&mut [5.0], 99.0), 5.0);
    let mut thousand: Vec<f64> = (1..=1_000).map(f64::from).collect();
    assert_eq!(percentile(&mut thousand, 99.9), 999.0);
    assert_eq!(percentile(&mut thousand[..334], 99.9), 334.0);
    assert_eq!(percentile(&mut thousand[..480], 99.0), 476.0);
}

#[test]
fn a_slow_round_is_run_once_and_counts() {
    let mut rounds = 0;
    let params = Params { workers: 1, quick: false, soft_limit: Duration::ZERO };
    let [figure] = medians(&params, 7, || {
        std::thread::sleep(Duration::from_millis(1));
        rounds += 1;
        [f64::from(rounds)]
    });
    assert_eq!((rounds, figure), (1, 1.0));
}

//! Percentiles.

use super::*;

#[test]
fn percentiles_are_durations_that_occurred() {
    let mut samples = Samples::default();
    (1..=200).rev().for_each(|ms| samples.push(Duration::from_millis(ms)));
    assert_eq!(samples.percentile(50), Duration::from_millis(100));
    assert_eq!(samples.percentile(99), Duration::from_millis(198));
    assert_eq!(samples.percentile(100), Duration::from_millis(200));
}

#[test]
fn one_sample_is_every_percentile_and_none_is_zero() {
    let mut samples = Samples::default();
    assert_eq!(samples.percentile(99), Duration::ZERO);
    samples.push(Duration::from_millis(7));
    assert_eq!(samples.percentile(1), Duration::from_millis(7));
    assert_eq!(samples.percentile(99), Duration::from_millis(7));
}

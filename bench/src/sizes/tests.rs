use std::time::Duration;

use super::*;

#[test]
fn a_size_that_does_not_fit_is_left_out() {
    let params = Params { workers: 1, quick: false, soft_limit: Duration::from_secs(2) };
    let sizes = [("few", 100), ("many", 1_000), ("too many", 1_000_000_000)];
    let measured = measure(&params, &sizes, |ops| 10.0 * ops as f64);
    let figures: Vec<_> = measured.values.iter().map(|value| (value.metric.as_str(), value.value)).collect();
    assert_eq!(figures, [("few", 10.0), ("many", 10.0)]);
}

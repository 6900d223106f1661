use super::*;
use crate::fork::Serial;

#[test]
fn the_area_and_the_number_of_joins_are_right() {
    fn joins(interval: Interval) -> u64 {
        let (left, right) = interval.halves();
        if (left.area + right.area - interval.area).abs() <= EPSILON {
            return 0;
        }
        1 + joins(left) + joins(right)
    }
    assert_eq!(joins(Interval::whole()), JOINS);
    let exact = |x: f64| x.powi(4) / 4.0 + x.powi(2) / 2.0;
    let area = integrate::<Serial>(&mut (), Interval::whole());
    let expected = exact(TO) - exact(FROM);
    assert!((area - expected).abs() < 1e-9 * expected, "{area} instead of {expected}");
}

use super::*;

#[test]
fn points_inside_stay_and_points_outside_get_away() {
    assert_eq!(steps(0.0, 0.0), STEPS_MAX);
    assert_eq!(steps(-1.0, 0.0), STEPS_MAX);
    assert_eq!(steps(-2.2, -1.2), 1);
    assert!((2..20).contains(&steps(0.5, 0.5)));
}

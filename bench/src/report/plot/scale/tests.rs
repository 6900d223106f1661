use super::*;

fn scale(values: &[f64]) -> Scale {
    Scale::new(values.iter().copied()).unwrap()
}

#[test]
fn an_axis_is_logarithmic_if_values_are_far_apart() {
    assert!(!scale(&[1.0, 9.0]).is_log());
    assert!(scale(&[1.0, 11.0]).is_log());
    assert!(!scale(&[0.0, 11.0]).is_log());
    assert_eq!(Scale::new(std::iter::empty()), None);
}

#[test]
fn a_linear_axis_begins_at_zero_and_has_round_ticks() {
    assert_eq!(scale(&[3.0, 7.3]).ticks(), [0.0, 2.0, 4.0, 6.0, 8.0]);
    assert_eq!(scale(&[40.0, 100.0]).ticks(), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
    assert_eq!(scale(&[4.0, 8.0]).position(2.0), 0.25);
    assert_eq!(scale(&[0.0]).position(0.0), 0.0);
}

#[test]
fn a_logarithmic_axis_has_room_on_both_sides() {
    let Scale::Log { min, max } = scale(&[3.0, 400.0]) else { panic!() };
    assert_eq!((min, max), (2.0, 500.0));
    let Scale::Log { min, max } = scale(&[1.0, 1000.0]) else { panic!() };
    assert!((min - 0.5).abs() < 1e-9 && (max - 2000.0).abs() < 1e-9, "{min} {max}");
    let wide = scale(&[3.0, 40_000.0]);
    assert_eq!(wide.ticks(), [10.0, 100.0, 1_000.0, 10_000.0]);
    assert_eq!(wide.position(1.0), 0.0, "what is beyond the axis lies at its end");
    assert!((scale(&[1.0, 100.0]).position(10.0) - (20_f64.ln() / 400_f64.ln())).abs() < 1e-9);
}

use super::*;

#[test]
fn figures_have_three_digits() {
    let figures = [0.0061, 0.1234, 1.234, 12.34, 123.4, 12_600.4, 1_234_567.0].map(figure);
    assert_eq!(figures, ["0.0061", "0.123", "1.23", "12.3", "123", "12,600", "1,234,567"]);
}

#[test]
fn ratios_near_one_have_a_digit_more() {
    assert_eq!([0.5, 1.0049, 12.0].map(|value| figure_in(value, "x")), ["0.500", "1.005", "12.0"]);
    assert_eq!(figure_in(1.0049, "ns"), "1.00");
}

#[test]
fn columns_are_aligned() {
    let mut grid = Grid::new(vec!["system".into(), "ns".into()]);
    grid.row(vec!["a".into(), "1.00".into()]);
    grid.row(vec!["longer".into(), "-".into()]);
    assert_eq!(grid.to_text(), "  system    ns\n  a       1.00\n  longer     -\n");
    assert_eq!(grid.to_markdown(), "| system | ns |\n| --- | ---: |\n| a | 1.00 |\n| longer | - |\n");
}

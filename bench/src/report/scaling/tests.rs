use super::*;
use crate::{
    cell::Measured,
    plan::Plan,
    runner::{CellRuns, Outcome},
};

#[test]
fn ratios_are_to_two_workers() {
    let plan = Plan::new(&["fib".into()], &["rayon".into()], &[1, 2, 64]).unwrap();
    let cells = plan.parts()[0].cells().into_iter().zip([20.0, 10.0, 12.5]);
    let run = |(cell, value)| CellRuns {
        cell,
        outcomes: vec![Outcome::Measured(Measured::one("join", value))],
        disturbances: Vec::new(),
    };
    let section = Section::new(&plan.parts()[0], &cells.map(run).collect::<Vec<_>>());
    let text = grid(&section, &section.metrics[0]).to_text();
    let row: Vec<&str> = text.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(row, ["rayon", "20.0", "2.00", "10.0", "12.5", "1.25"]);
}

use super::*;
use crate::{
    cell::Measured,
    plan::Plan,
    runner::{CellRuns, Outcome},
};

/// A section on fib, with these outcomes of serial and rayon at one worker, and of rayon at two.
fn section(outcomes: [Outcome; 3]) -> Section {
    let plan = Plan::new(&["fib".into()], &["serial".into(), "corosensei".into(), "rayon".into()], &[1, 2]);
    let part = plan.unwrap().parts()[0].clone();
    let cells = part.cells().into_iter().zip(outcomes);
    let runs: Vec<_> = cells
        .map(|(cell, outcome)| CellRuns { cell, outcomes: vec![outcome], disturbances: vec![40.0] })
        .collect();
    Section::new(&part, &runs)
}

fn measured(value: f64) -> Outcome {
    Outcome::Measured(Measured::one("join", value))
}

#[test]
fn ratios_are_to_the_baseline_with_as_many_workers() {
    let section = section([measured(1.0), measured(10.0), measured(5.0)]);
    let text = section.grid(&section.metrics[0]).to_text();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[1], ["serial", "1.00", "1.00", "1.00", "0.10", "-"]);
    assert_eq!(rows[2], ["rayon", "10.0", "10.0", "10.0", "1.00", "5.00", "5.00", "5.00", "1.00"]);
    assert_eq!(rows.len(), 3, "corosensei, a reference that cannot express fib, has no row");
    assert!(section.disturbance().unwrap().contains("40 %"));
}

#[test]
fn failures_are_shown_in_the_table_and_explained_below() {
    let section = section([measured(1.0), Outcome::Hung, Outcome::Crashed("SIGSEGV".into())]);
    let metric = &section.metrics[0];
    let text = section.grid(metric).to_text();
    let last: Vec<&str> = text.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(last, ["rayon", "hangs", "crashes"]);
    assert_eq!(
        section.notes(metric),
        ["rayon, 1 worker: hangs in 1 of 1 runs", "rayon, 2 workers: crashes in 1 of 1 runs: SIGSEGV"]
    );
    assert!(!section.any_wrong());
}

use super::*;
use crate::{cell::Measured, plan::Plan};

fn runs(outcomes: Vec<Outcome>) -> CellRuns {
    let plan = Plan::new(&["fib".into()], &["serial".into()], &[1]).unwrap();
    CellRuns { cell: plan.parts()[0].cells()[0], outcomes, disturbances: Vec::new() }
}

const METRIC: Metric = Metric { name: "join", unit: "ns", about: "" };

#[test]
fn figures_and_failures_stand_side_by_side() {
    let crash = || Outcome::Crashed("SIGSEGV".into());
    let measured = |value| Outcome::Measured(Measured::one("join", value));
    let outcomes = vec![measured(3.0), crash(), measured(1.0), crash(), Outcome::Hung, measured(2.0)];
    let summary = Summary::new(&runs(outcomes), &METRIC).unwrap();
    let figures = summary.figures.as_ref().unwrap();
    assert_eq!((figures.median, figures.min, figures.max), (2.0, 1.0, 3.0));
    assert_eq!(summary.failures.len(), 2);
    assert_eq!((summary.failures[0].word, summary.failures[0].times), ("crashes", 2));
    assert_eq!(summary.runs, 6);
}

#[test]
fn a_metric_that_a_system_does_not_have_is_none() {
    let other = Outcome::Measured(Measured::one("something else", 1.0));
    assert!(Summary::new(&runs(vec![other]), &METRIC).is_none());
}

#[test]
fn the_most_frequent_form_is_named() {
    let forms = ["a", "b", "b", "c"].map(String::from).to_vec();
    assert_eq!(most_frequent(forms).as_deref(), Some("b"));
    assert_eq!(most_frequent(["x", "y"].map(String::from).to_vec()).as_deref(), Some("x"));
    assert_eq!(most_frequent(Vec::new()), None);
}

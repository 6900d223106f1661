use super::*;

#[test]
fn names_select_and_unknown_names_are_refused() {
    let plan = Plan::new(&["fib".into()], &["rayon".into(), "serial".into()], &[2, 1, 2]).unwrap();
    let part = &plan.parts()[0];
    assert_eq!(part.workers, [1, 2]);
    let cells: Vec<_> = part.cells().iter().map(|cell| (cell.rival.name, cell.workers)).collect();
    assert_eq!(cells, [("rayon", 1), ("serial", 1), ("rayon", 2)]);
    let error = Plan::new(&["fibb".into()], &[], &[1]).unwrap_err();
    assert!(error.contains("'fibb'") && error.contains("flat_spawn"), "{error}");
    assert!(Plan::new(&[], &[], &[0, 1]).is_err());
}

use super::*;

fn shell(script: &str, budget_ms: u64) -> Outcome {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdout(Stdio::piped()).stderr(Stdio::piped());
    watch(command.spawn().unwrap(), Duration::from_millis(budget_ms))
}

#[test]
fn a_line_of_json_is_a_result() {
    let outcome = shell(r#"echo '{"values":[{"metric":"m","value":1.5}]}'"#, 10_000);
    let Outcome::Measured(measured) = outcome else { panic!("{outcome:?}") };
    assert_eq!(measured.values[0].value, 1.5);
}

#[test]
fn a_process_that_does_not_end_hangs() {
    assert!(matches!(shell("exec sleep 60", 50), Outcome::Hung));
}

#[test]
fn a_signal_and_a_panic_are_crashes_with_a_reason() {
    let outcome = shell("kill -SEGV $$", 10_000);
    assert!(matches!(&outcome, Outcome::Crashed(reason) if reason == "SIGSEGV"), "{outcome:?}");
    let outcome = shell("echo \"thread 'x' panicked at a.rs:1:\nboom\nnote: more\" >&2; exit 101", 10_000);
    assert!(matches!(&outcome, Outcome::Crashed(reason) if reason == "panic: boom"), "{outcome:?}");
    assert!(matches!(shell("echo nonsense", 10_000), Outcome::Crashed(_)));
}

/// The runs of fib on a system, of which the first has measured this.
fn ran(system: &str, value: f64) -> CellRuns {
    let plan = crate::plan::Plan::new(&["fib".into()], &[system.into()], &[1]).unwrap();
    let outcomes = vec![Outcome::Measured(Measured::one("join", value))];
    CellRuns { cell: plan.parts()[0].cells()[0], outcomes, disturbances: Vec::new() }
}

#[test]
fn a_system_is_slow_if_it_takes_ten_times_what_the_baseline_takes() {
    let results = [ran("rayon", 10.0), ran("serial", 99.0)];
    let baseline = rivals::find("rayon");
    assert!(!is_slow(&results[0], &results, baseline));
    assert!(!is_slow(&results[1], &results, baseline));
    assert!(is_slow(&ran("serial", 100.0), &results, baseline));
    assert!(!is_slow(&ran("serial", 100.0), &results, None));
    let hung = CellRuns { outcomes: vec![Outcome::Hung], ..ran("rayon", 1.0) };
    assert!(!is_slow(&ran("serial", 100.0), &[hung], baseline), "there is nothing to compare with");
}

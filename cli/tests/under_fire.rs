//! `ramie demo --under-fire` as a user runs it.

use std::io::Read;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What the program may take at most; then it hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// The source of ramie's frames, in whose lines the report has to name the right ones.
const SOURCE: &str = include_str!("../src/fire/on_ramie.rs");

/// Runs the program, which is ended if it takes too long.
#[track_caller]
fn demo(args: &[&str]) -> (ExitStatus, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ramie"))
        .args(["demo", "--under-fire"])
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdout = child.stdout.take().expect("it was piped");
    let reading = thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).expect("it prints text");
        text
    });
    let begin = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("it can be watched") {
            break status;
        }
        if begin.elapsed() > LIMIT {
            let _ = child.kill();
            panic!("{args:?} hangs");
        }
        thread::sleep(Duration::from_millis(10));
    };
    (status, reading.join().expect("it prints text"))
}

/// The one place of the source with this text, as reports name it.
#[track_caller]
fn place(text: &str) -> String {
    let lines: Vec<usize> =
        (1..).zip(SOURCE.lines()).filter(|(_, line)| line.contains(text)).map(|(number, _)| number).collect();
    assert_eq!(lines.len(), 1, "'{text}' is in one line");
    format!("on_ramie.rs:{}:", lines[0])
}

#[test]
fn all_three_play_and_compute_the_same() {
    let (status, text) = demo(&["--seconds", "1", "--workers", "2"]);
    assert!(status.success(), "{text}");
    for part in
        ["ramie", "rayon", "tokio", "p50 ms", "p99 ms", "max ms", "assets/s", "have computed the same"]
    {
        assert!(text.contains(part), "no {part} in {text}");
    }
    let missed = text.lines().find(|line| line.starts_with("missed frames")).expect("there is such a row");
    assert_eq!(missed.matches("of 60").count(), 3, "all have played all frames: {text}");
    let turns = text.lines().find(|line| line.starts_with("scripts' turns")).expect("there is such a row");
    // 100 scripts in each of 72 frames, on the two systems that have them.
    assert_eq!(turns.split_whitespace().skip(2).collect::<Vec<_>>(), ["7200", "-", "7200"], "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

#[test]
fn one_worker_is_enough() {
    let (status, text) = demo(&["--seconds", "1", "--workers", "1"]);
    assert!(status.success(), "{text}");
    assert!(text.contains("have computed the same"), "{text}");
}

#[test]
fn ramies_part_is_recorded() {
    let folder = std::env::temp_dir().join(format!("ramie-under-fire-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
    let file = folder.join("fire.trace");
    let (status, text) =
        demo(&["--seconds", "1", "--workers", "2", "--trace", file.to_str().expect("the path is text")]);
    assert!(status.success(), "{text}");
    let page = std::fs::read_to_string(folder.join("fire.trace.html")).expect("there is a timeline");
    assert!(page.contains("<html"), "it is a page");
    assert!(text.contains("timeline: ") && text.contains("events are in"), "{text}");
    std::fs::remove_dir_all(&folder).expect("nobody else uses it");
}

#[test]
fn a_dropped_signal_is_reported_with_the_job_and_its_line() {
    let (status, text) = demo(&["--break", "--workers", "2"]);
    assert_eq!(status.code(), Some(1), "{text}");
    assert!(text.contains("suspected stall: `run` has been waiting"), "{text}");
    let waits = text.lines().find(|line| line.contains("job 'frame'")).expect("the job is named");
    assert!(waits.contains("waits for counter") && waits.contains("to reach zero"), "{waits}");
    assert!(waits.contains(&place(".name(\"frame\")")), "where it was spawned: {waits}");
    assert!(waits.contains(&place("drawn.wait()")), "where it waits: {waits}");
    assert!(text.contains("more in the same place"), "10,000 scripts are not 10,000 lines: {text}");
    assert!(text.lines().count() < 40, "{text}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    for args in [
        &["--under-fire", "--frames", "3"][..],
        &["--under-fire", "--no-images"],
        &["--under-fire", "--seconds", "0"],
        &["--under-fire", "--seconds", "61"],
        &["--under-fire", "--break", "--trace", "file"],
        &["--break"],
        &["--seconds", "3"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_ramie")).arg("demo").args(args).output();
        let output = output.expect("the program starts");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1, "{args:?}");
    }
}

//! `ramie trace` and `ramie demo --trace` as a user runs them.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A folder of this test's own, which is removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ramie-cli-trace-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("temporary folders can be made");
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn ramie(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ramie"));
    command.args(args).stdin(Stdio::null()).output().expect("the program starts")
}

#[test]
fn a_demo_is_recorded_and_shown() {
    let folder = Folder::new("demo");
    let file = folder.file("demo.rec");
    let file = file.to_str().expect("the path is text");
    let arguments =
        ["demo", "--frames", "4", "--grains", "3000", "--no-images", "--workers", "2", "--trace", file];
    let output = ramie(&arguments);
    let text = String::from_utf8(output.stdout).expect("it prints text");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("events are in") && text.contains("demo.rec.html"), "{text}");
    let page = fs::read_to_string(folder.file("demo.rec.html")).expect("it was written");
    assert!(
        page.contains("<title>demo") && page.contains("cli/src/demo/bare.rs"),
        "the page has the places of jobs"
    );
    // Everything is in the page.
    for foreign in ["src=\"http", "href=\"http", "@import", "fetch("] {
        assert!(!page.contains(foreign), "the page loads something: {foreign}");
    }
    let trace = fs::read(folder.file("demo.rec.json")).expect("it was written");
    let trace: serde_json::Value = serde_json::from_slice(&trace).expect("it is JSON");
    let events = trace["traceEvents"].as_array().expect("with events");
    assert!(events.iter().any(|event| event["ph"] == "X" && event["cat"] == "job"));

    // The file alone, by the other command.
    fs::remove_file(folder.file("demo.rec.html")).expect("it is there");
    let output = ramie(&["trace", file]);
    let text = String::from_utf8(output.stdout).expect("it prints text");
    for part in
        ["parallelism", "critical path", "workers ran nothing", "cli/src/demo/bare.rs", "demo.rec.html"]
    {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
    assert!(folder.file("demo.rec.html").exists());
    let output = ramie(&["trace", file, "--no-files"]);
    assert!(!String::from_utf8_lossy(&output.stdout).contains("demo.rec.html"));
}

#[test]
fn what_is_no_recording_is_refused_in_a_line() {
    let folder = Folder::new("refused");
    let file = folder.file("text");
    fs::write(&file, "no recording").expect("it can be written");
    for (args, expected) in [
        (vec!["trace", file.to_str().unwrap()], "is no recording of ramie"),
        (vec!["trace", "/nowhere/at/all"], "cannot read the recording"),
        (vec!["trace"], "see 'ramie trace --help'"),
        (
            vec!["demo", "--frames", "1", "--no-images", "--trace", "/nowhere/at/all"],
            "choose another file with --trace",
        ),
    ] {
        let output = ramie(&args);
        let error = String::from_utf8(output.stderr).expect("it prints text");
        assert_eq!(output.status.code(), Some(2), "{args:?}: {error}");
        assert!(error.starts_with("error: ") && error.lines().count() == 1, "{error}");
        assert!(error.contains(expected), "{error}");
    }
}

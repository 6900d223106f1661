//! Runs `ramie demo --live` as a user would: without a terminal, and in one that `script` of util-linux makes.

use std::fs;
use std::io::{Read, Write};
use std::process::{Command, ExitStatus, Stdio};

const OPENS: &str = "\x1b[?1049h";
const CLOSES: &str = "\x1b[?1049l";

/// Runs the demonstration, which has to be refused, and returns the line that says why.
fn refused(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_ramie")).arg("demo").args(args).output();
    let output = output.expect("the program starts");
    let stderr = String::from_utf8(output.stderr).expect("errors are text");
    assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{args:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{args:?}");
    stderr
}

fn has_script() -> bool {
    let version = Command::new("script").arg("--version").output();
    version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("util-linux"))
}

/// Runs the demonstration in a terminal of 80 x 24, and presses `key` when the view is there. Gives back what was written
/// to the terminal, the settings that it has afterwards as the last of it, and how the program ended.
fn in_terminal(args: &str, key: &str) -> (String, ExitStatus) {
    let program = env!("CARGO_BIN_EXE_ramie");
    let command = format!(
        "stty cols 80 rows 24; '{program}' demo --live --workers 2 {args}; code=$?; stty -a; exit $code"
    );
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script starts");
    // Open until the end, which is none of the program's input.
    let mut keys = child.stdin.take().expect("it was piped");
    let mut output = child.stdout.take().expect("it was piped");
    let (mut text, mut part, mut pressed) = (Vec::new(), [0; 4096], false);
    loop {
        let length = output.read(&mut part).expect("it can be read");
        text.extend_from_slice(&part[..length]);
        if length == 0 {
            break;
        }
        if !pressed && String::from_utf8_lossy(&text).contains("pause the view") {
            pressed = true;
            // A program that has ended reads no keys.
            let _ = keys.write_all(key.as_bytes());
        }
    }
    assert!(pressed, "the view was there: {}", String::from_utf8_lossy(&text));
    (String::from_utf8_lossy(&text).into_owned(), child.wait().expect("script ends"))
}

/// What was printed after the view, which has to be closed, in a terminal that is as it was before.
fn after_view(text: &str) -> &str {
    let (view, after) = text.rsplit_once(CLOSES).unwrap_or_else(|| panic!("not closed: {text:?}"));
    assert!(
        view.contains(OPENS) && view.contains("ramie demo") && view.contains("fibers that wait"),
        "{view:?}"
    );
    assert!(!after.contains(OPENS) && after.contains("\x1b[?25h"), "the cursor is shown: {after:?}");
    for setting in ["icanon", "echo", "isig"] {
        let is_set = after.split_whitespace().any(|word| word == setting);
        assert!(is_set, "{setting} is set again: {after}");
    }
    after
}

#[test]
fn without_a_terminal_it_is_refused() {
    let line = refused(&["--live"]);
    assert!(line.starts_with("error: --live needs a terminal, and stdout is none"), "{line}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    for args in [&["--under-fire"][..], &["--compare", "serial"]] {
        let line = refused(&[&["--live"], args].concat());
        assert!(line.contains("--live") && line.contains(args[0]), "{line}");
    }
}

#[test]
fn the_report_follows_the_view() {
    if !has_script() {
        return;
    }
    let (text, status) = in_terminal("--frames 20 --grains 5000 --no-images", "x");
    let report = after_view(&text);
    assert!(status.success(), "{report}");
    assert!(report.contains("20 frames") && report.contains("checksum: "), "{report}");
    assert!(!report.contains("ended early"), "{report}");
}

#[test]
fn a_key_ends_it_early_with_a_report_and_the_frames_so_far() {
    if !has_script() {
        return;
    }
    let folder = std::env::temp_dir().join(format!("ramie-live-{}", std::process::id()));
    for key in ["q", "\x03"] {
        let args = format!("--frames 9999 --grains 5000 --out '{}'", folder.display());
        let (text, status) = in_terminal(&args, key);
        let report = after_view(&text);
        assert!(status.success(), "{report}");
        let line = report.lines().find(|line| line.starts_with("ended early, after ")).expect("it says so");
        let count: usize =
            line.split_whitespace().nth(3).and_then(|word| word.parse().ok()).expect("a count");
        assert!(line.trim_end().ends_with("of 9999 frames") && (1..9999).contains(&count), "{line}");
        assert!(report.contains("checksum: "), "{report}");
        let has_frame = |number: usize| folder.join(format!("frame-{number:04}.png")).exists();
        assert!(has_frame(count - 1) && !has_frame(count), "{count} frames");
        assert!(fs::metadata(folder.join("animation.png")).is_ok_and(|file| file.len() > 0));
        fs::remove_dir_all(&folder).expect("nobody else uses it");
    }
}

#[test]
fn a_failure_is_told_after_the_view() {
    if !has_script() {
        return;
    }
    let folder = std::env::temp_dir().join(format!("ramie-live-failure-{}", std::process::id()));
    fs::create_dir_all(folder.join("frame-0003.png")).expect("the temporary folder can be written");
    let (text, status) = in_terminal(&format!("--frames 9 --grains 100 --out '{}'", folder.display()), "x");
    let text = after_view(&text);
    assert_eq!(status.code(), Some(2), "{text}");
    assert!(text.contains("error: cannot write") && text.contains("frame-0003.png"), "{text}");
    fs::remove_dir_all(&folder).expect("nobody else uses it");
}

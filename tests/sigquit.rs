//! A process that asked for it prints a dump when it gets `SIGQUIT`, and goes on.

#![cfg(unix)]

mod common;

use common::{is_child, watch};
use ramie::{Counter, FiberActivity};
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

const CHILD: &str = "a_process_that_sends_itself_the_signal";

fn quit() {
    let status = Command::new("kill").args(["-QUIT", &std::process::id().to_string()]).status();
    assert!(status.expect("kill is there").success());
}

/// Runs as a child only.
#[test]
fn a_process_that_sends_itself_the_signal() {
    if !is_child(CHILD) {
        return;
    }
    let _watch = watch("signals", 60);
    ramie::dump_on_sigquit().expect("it can be had");
    ramie::dump_on_sigquit().expect("again is no error");
    let system = common::system(2);
    let gate = Counter::new(1);
    let theirs = gate.clone();
    let job = system.job().name("hangs").spawn(move || theirs.wait());
    common::spin_until(|| system.dump().fibers.iter().any(|f| f.activity == FiberActivity::Waiting));
    for _ in 0..2 {
        quit();
        // The parent has seen it.
        assert_eq!(std::io::stdin().read(&mut [0]).expect("readable"), 1);
    }
    gate.signal();
    job.join().expect("it ends");
    // Many at once do no harm.
    system.scope(|s| (0..20).for_each(|_| s.detach(quit)));
}

#[test]
fn a_dump_is_printed_and_the_process_goes_on() {
    use std::io::Write;
    let _watch = watch("sigquit", 60);
    let mut child = Command::new(std::env::current_exe().expect("a test knows its own program"))
        .args(["--exact", CHILD, "--nocapture", "--test-threads=1"])
        .env("RAMIE_TEST_CHILD", CHILD)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a child process can be started");
    let mut input = child.stdin.take().expect("it is piped");
    let mut errors = BufReader::new(child.stderr.take().expect("it is piped"));
    for _ in 0..2 {
        let mut text = String::new();
        while !text.ends_with("\n\n") {
            assert_ne!(errors.read_line(&mut text).expect("readable"), 0, "it ended:\n{text}");
        }
        assert!(text.starts_with("ramie: SIGQUIT\n"), "{text}");
        assert!(text.contains("job 'hangs' spawned at tests/sigquit.rs:"), "{text}");
        assert!(text.contains("waits for counter"), "{text}");
        if cfg!(all(feature = "backtrace", target_os = "linux", target_arch = "x86_64")) {
            assert!(text.contains("\n    ") && text.matches("tests/sigquit.rs:").count() >= 3, "{text}");
        }
        input.write_all(b"x").expect("it is there");
    }
    let mut rest = String::new();
    errors.read_to_string(&mut rest).expect("readable");
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{:?}\n{text}\n{rest}", output.status);
}

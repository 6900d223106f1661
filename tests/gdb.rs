//! The script for GDB finds every fiber, and unwinds those that wait: in a process, and in a core file.

#![cfg(all(target_os = "linux", target_arch = "x86_64", not(feature = "sanitizer")))]

mod common;

use common::{is_child, watch};
use ramie::{Counter, FiberActivity, JobSystem};
use std::hint::black_box;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/gdb/ramie.py");
const FIBERS: usize = 100;
const CHILD: &str = "a_process_with_fibers_that_wait";

// --- the process that is looked at -----------------------------------------------------------

/// What stands in a register, and in the stack, across the wait.
#[inline(never)]
fn deep_inside_user_code(gate: &Counter, number: u64) -> u64 {
    let kept = black_box(number * 3);
    gate.wait();
    black_box(kept) + 1
}

#[inline(never)]
fn middle_of_user_code(gate: &Counter, number: u64) -> u64 {
    let kept = black_box(number);
    deep_inside_user_code(gate, number) + black_box(kept)
}

#[inline(never)]
fn edge_of_user_code(gate: &Counter, number: u64) -> u64 {
    let kept = black_box(number);
    middle_of_user_code(gate, number) + black_box(kept)
}

/// Runs as a child only; ends when its standard input is closed.
#[test]
fn a_process_with_fibers_that_wait() {
    if !is_child(CHILD) {
        return;
    }
    let _watch = watch("with fibers that wait", 300);
    let system = JobSystem::builder().workers(2).build().expect("a system");
    let gate = Counter::new(1);
    let mut handles = Vec::new();
    for number in 0..FIBERS as u64 {
        let theirs = gate.clone();
        let name: &'static str = Box::leak(format!("loader {number}").into_boxed_str());
        let job = system.job().name(name);
        // One of them on a large stack.
        let job = if number == 7 { job.large_stack() } else { job };
        handles.push(job.spawn(move || edge_of_user_code(&theirs, number)));
    }
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    common::spin_until(|| {
        let fibers = system.dump().fibers;
        let waiting = fibers.iter().filter(|fiber| fiber.activity == FiberActivity::Waiting);
        waiting.filter(|fiber| fiber.waits_for.contains("counter")).count() == FIBERS
    });
    let theirs = std::sync::Arc::clone(&stop);
    let busy = system.job().name("busy").spawn(move || busy_user_code(&theirs));
    common::spin_until(|| system.dump().fibers.iter().any(|f| f.activity == FiberActivity::Running));
    println!("READY");
    let _ = std::io::stdin().read(&mut [0]);
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    gate.signal();
    for (number, handle) in handles.into_iter().enumerate() {
        assert_eq!(handle.join().expect("it ends"), 5 * number as u64 + 1);
    }
    busy.join().expect("it ends");
}

#[inline(never)]
fn busy_user_code(stop: &std::sync::atomic::AtomicBool) {
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        std::thread::yield_now();
    }
}

/// Starts it, and waits until all is as it is to be.
fn start() -> Child {
    start_in(&std::env::current_dir().expect("there is one"))
}

/// The same in a folder where a core file may be written.
fn start_in(folder: &Path) -> Child {
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -c unlimited; exec \"$@\"", "sh", &program()])
        .args(["--exact", CHILD, "--nocapture", "--test-threads=1"])
        .current_dir(folder)
        .env("RAMIE_TEST_CHILD", CHILD)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child process can be started");
    let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut line = String::new();
    while !line.contains("READY") {
        line.clear();
        assert_ne!(output.read_line(&mut line).expect("readable"), 0, "it ended");
    }
    child.stdout = Some(output.into_inner());
    child
}

/// Lets it end, and sees that it was not harmed.
fn finish(mut child: Child) {
    drop(child.stdin.take());
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
}

// --- GDB -------------------------------------------------------------------------------------

/// Runs these commands after the script, and gives what was printed.
fn gdb(arguments: &[&str], commands: &[&str]) -> String {
    let mut command = Command::new("gdb");
    command.args(["-batch", "-nx", "-iex", "set debuginfod enabled off", "-ex", "set width 0"]);
    command.args(arguments).args(["-ex", &format!("source {SCRIPT}")]);
    for text in commands {
        command.args(["-ex", text]);
    }
    let output = command.stdin(Stdio::null()).output().expect("gdb was there before");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text + &String::from_utf8_lossy(&output.stderr)
}

/// Whether there is a GDB with Python.
fn has_gdb() -> bool {
    let output = Command::new("gdb").args(["-batch", "-nx", "-ex", "python print(6 * 7)"]).output();
    let found = output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim() == "42");
    if !found {
        eprintln!("SKIPPED: there is no gdb with Python");
    }
    found
}

/// Whether GDB was let in.
fn is_attached(text: &str) -> bool {
    let refused = text.contains("ptrace: Operation not permitted") || text.contains("Could not attach");
    if refused {
        eprintln!("SKIPPED: gdb must not attach to processes here:\n{text}");
    }
    !refused
}

const COMMANDS: [&str; 4] = ["echo LIST\\n", "info fibers", "echo APPLY\\n", "fiber apply all bt"];

/// Checks what [`COMMANDS`] have printed.
#[track_caller]
fn check(text: &str) {
    let (_, rest) = text.split_once("LIST\n").unwrap_or_else(|| panic!("no list:\n{text}"));
    let (list, backtraces) = rest.split_once("APPLY\n").unwrap_or_else(|| panic!("no backtraces:\n{text}"));
    assert!(list.contains("101 fibers, of which 1 run"), "{list}");
    for number in 0..FIBERS {
        let job = format!("waiting: job 'loader {number}' spawned at tests/gdb.rs:");
        let line = list.lines().find(|line| line.contains(&job));
        let line = line.unwrap_or_else(|| panic!("no loader {number}:\n{list}"));
        assert!(line.contains(", waits for counter "), "{line}");
        let wait_line = line.rsplit_once(" to reach zero at tests/gdb.rs:").expect("a place").1;
        let wait_line: u32 = wait_line.split(':').next().expect("a line").parse().expect("a number");
        assert_eq!(wait_line, wait_line_of_user_code(), "{line}");
    }
    let backtraces: Vec<_> = backtraces.split("\n\n").filter(|text| text.contains("fiber ")).collect();
    assert_eq!(backtraces.len(), FIBERS + 1);
    for backtrace in backtraces {
        check_backtrace(backtrace);
    }
}

fn wait_line_of_user_code() -> u32 {
    let here = include_str!("gdb.rs").lines().position(|line| line == "    gate.wait();");
    here.expect("it is there") as u32 + 1
}

/// The user's functions, innermost first, and nothing of the worker's root.
#[track_caller]
fn check_backtrace(backtrace: &str) {
    let names: &[&str] = if backtrace.contains("'busy'") {
        &["busy_user_code"]
    } else {
        &["gdb::deep_inside_user_code", "gdb::middle_of_user_code", "gdb::edge_of_user_code"]
    };
    let mut rest = backtrace;
    for name in names {
        let Some((_, after)) = rest.split_once(name) else { panic!("no {name}:\n{backtrace}") };
        rest = after;
    }
    if names.len() == 3 {
        assert!(backtrace.contains("/gdb.rs:"), "{backtrace}");
        assert!(backtrace.contains("fiber_body"), "to its end:\n{backtrace}");
        assert!(!backtrace.contains("run_fiber") && !backtrace.contains("start_thread"), "{backtrace}");
    }
    assert_eq!(backtrace.contains("are on a large stack>"), backtrace.contains("'loader 7'"), "{backtrace}");
}

/// The number of the fiber of this job, in a list.
fn number_of(text: &str, job: &str) -> String {
    let line = text.lines().find(|line| line.contains(job)).unwrap_or_else(|| panic!("{text}"));
    line.split_whitespace().nth(1).expect("a number").to_owned()
}

#[test]
fn fibers_of_a_process_are_shown_and_it_goes_on() {
    if !has_gdb() {
        return;
    }
    let _watch = watch("process", 300);
    let child = start();
    let pid = child.id().to_string();
    let text = gdb(&["-p", &pid], &COMMANDS);
    if is_attached(&text) {
        check(&text);
        // One by one, with the selected thread and frame as they were.
        let (waiting, busy) = (number_of(&text, "'loader 42'"), number_of(&text, "'busy'"));
        let text = gdb(
            &["-p", &pid],
            &[
                "thread 1",
                "frame 1",
                "echo BEFORE\\n",
                "info registers",
                "frame",
                "echo FIBER\\n",
                &format!("fiber {waiting}"),
                "echo SHORT\\n",
                &format!("fiber {waiting} bt 2"),
                "echo WAITING\\n",
                &format!("fiber {waiting} bt"),
                "echo BUSY\\n",
                &format!("fiber {busy} bt"),
                // As Ctrl-C does, in the midst of a backtrace.
                "python describe_frame = lambda *_: (_ for _ in ()).throw(KeyboardInterrupt())",
                "echo INTERRUPTED\\n",
                &format!("fiber {waiting} bt"),
                "echo AFTER\\n",
                "info registers",
                "frame",
                "echo ALL\\n",
                "info fibers all",
                "fiber 4000000",
                "fiber 1 up",
                "help fiber",
            ],
        );
        let part = |name: &str, end: &str| {
            let (_, rest) = text.split_once(&format!("{name}\n")).unwrap_or_else(|| panic!("{text}"));
            rest.split_once(&format!("{end}\n")).unwrap_or_else(|| panic!("{text}")).0
        };
        assert_eq!(part("BEFORE", "FIBER"), part("AFTER", "ALL"), "registers and frame");
        assert!(part("FIBER", "SHORT").contains("stack pointer at 0x"), "{text}");
        assert!(
            part("SHORT", "WAITING").contains("#1 ") && !part("SHORT", "WAITING").contains("#2 "),
            "{text}"
        );
        check_backtrace(part("WAITING", "BUSY"));
        assert!(part("BUSY", "INTERRUPTED").contains("busy_user_code"), "{text}");
        assert!(!part("INTERRUPTED", "AFTER").contains("#0"), "{text}");
        assert!(text.contains(": no job"), "idle fibers are listed with all:\n{text}");
        assert!(text.contains("There is no fiber 4000000"), "{text}");
        assert!(text.contains("Only 'bt' and 'bt COUNT' are known"), "{text}");
        assert!(text.contains("what is known of it"), "{text}");
    }
    finish(child);
}

/// The core file of a process that GDB is attached to. Where guards are regions, GDB's own command leaves the stacks out.
#[test]
fn fibers_of_a_core_file_of_gdb_are_shown() {
    if !has_gdb() {
        return;
    }
    let _watch = watch("core of gdb", 300);
    let child = start();
    let core = std::env::temp_dir().join(format!("ramie-gdb-{}.core", child.id()));
    let path = core.to_str().expect("a path of text");
    let text = gdb(&["-p", &child.id().to_string()], &[&format!("fiber core {path}")]);
    let attached = is_attached(&text);
    finish(child);
    if !attached {
        return;
    }
    assert!(text.contains("fibers' stacks."), "{text}");
    let text = gdb(&[&program(), path], &COMMANDS);
    std::fs::remove_file(&core).expect("it can be removed");
    check(&text);
}

/// The core file that the kernel writes when a process aborts.
#[test]
fn fibers_of_a_core_file_of_the_kernel_are_shown() {
    if !has_gdb() {
        return;
    }
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    if pattern.trim().is_empty() || pattern.starts_with('|') || pattern.contains('/') {
        eprintln!("SKIPPED: core files go elsewhere: {pattern}");
        return;
    }
    let _watch = watch("core of the kernel", 300);
    let folder = std::env::temp_dir().join(format!("ramie-gdb-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let mut child = start_in(&folder);
    let killed = Command::new("kill").args(["-ABRT", &child.id().to_string()]).status();
    assert!(killed.expect("kill is there").success());
    // To wait for a child closes its input, and that lets it go on.
    let input = child.stdin.take();
    let status = child.wait().expect("it ends");
    drop(input);
    assert!(!status.success());
    let core = std::fs::read_dir(&folder).expect("readable").next();
    match core {
        Some(core) => {
            let path = core.expect("readable").path();
            let text = gdb(&[&program(), path.to_str().expect("a path of text")], &COMMANDS);
            check(&text);
        }
        None => eprintln!("SKIPPED: the kernel has written no core file: {status:?}"),
    }
    std::fs::remove_dir_all(&folder).expect("it can be removed");
}

fn program() -> String {
    let program = std::env::current_exe().expect("a test knows its own program");
    program.into_os_string().into_string().expect("a path of text")
}

/// Without a process there is a message, not a trace of Python.
#[test]
fn what_is_missing_is_told() {
    if !has_gdb() {
        return;
    }
    let _watch = watch("missing", 60);
    let text = gdb(&[], &["info fibers"]);
    assert!(text.contains("There is no symbol 'ramie_debugger_table'"), "{text}");
    let text = gdb(&[&program()], &["info fibers", "info fibers some"]);
    assert!(text.contains("There is no process yet") || text.contains("cannot be read"), "{text}");
    assert!(text.contains("'info fibers', or 'info fibers all'"), "{text}");
    assert!(!text.contains("Traceback"), "{text}");
}

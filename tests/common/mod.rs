//! What the tests share: a watchdog, seeds, random numbers, counted drops and child processes.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod busy;
pub(crate) mod trees;

use ramie::{Builder, JobSystem};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// The numbers of workers that everything is tested with.
pub(crate) const WORKERS: [usize; 5] = [1, 2, 3, 8, 64];

/// The variable that tells a test that it is its own child process.
const CHILD: &str = "RAMIE_TEST_CHILD";

/// A builder; of a system whose fibers migrate if `RAMIE_TEST_MIGRATING` is set. For tests that make no use of
/// the identity of threads.
pub(crate) fn builder() -> Builder {
    let builder = JobSystem::builder();
    if migrating() {
        // SAFETY: the tests that use this hold nothing across waits that is bound to a thread.
        #[expect(unsafe_code, reason = "an opt-in")]
        return unsafe { builder.migrating_fibers() };
    }
    builder
}

/// A builder of a system with sticky fibers, whatever is set: for tests of what only those give.
pub(crate) fn sticky() -> Builder {
    JobSystem::builder()
}

/// Whether the tests are to run with fibers that migrate.
pub(crate) fn migrating() -> bool {
    std::env::var_os("RAMIE_TEST_MIGRATING").is_some()
}

/// A system with this many workers.
pub(crate) fn system(workers: usize) -> JobSystem {
    builder().workers(workers).build().expect("a test's system can be built")
}

/// By how much `cargo xtask soak` lengthens the stress tests.
pub(crate) fn soak() -> usize {
    std::env::var("RAMIE_SOAK").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// `RAMIE_SEED`, or a new seed; printed either way.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("RAMIE_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        mix(since.map_or(1, |since| since.as_nanos() as u64))
    });
    eprintln!("RAMIE_SEED={seed}");
    seed
}

/// A well-mixed function of `x` (the finaliser of splitmix64).
pub(crate) fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// Random numbers.
#[derive(Clone, Debug)]
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// Ends the process with a dump unless it is dropped in time.
#[must_use]
pub(crate) struct Watch {
    done: Option<mpsc::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// Watches over the rest of the scope: after `seconds` the process prints all fibers and aborts.
pub(crate) fn watch(what: &'static str, seconds: u64) -> Watch {
    let (done, ended) = mpsc::channel::<()>();
    let limit = Duration::from_secs(seconds * soak() as u64);
    let thread = std::thread::spawn(move || {
        if ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            eprintln!("WATCHDOG: '{what}' has not ended after {limit:?}\n{}", ramie::dump_all());
            if std::env::var_os("RAMIE_GDB").is_some() {
                let pid = std::process::id().to_string();
                let _ = Command::new("gdb")
                    .args(["-p", &pid, "-batch", "-ex", "thread apply all bt 40"])
                    .status();
            }
            std::process::abort();
        }
    });
    Watch { done: Some(done), thread: Some(thread) }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.done.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Lets the thread spin, giving way to others, until the condition holds. For use outside of jobs, under a watch.
pub(crate) fn spin_until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        std::thread::yield_now();
    }
}

/// Whether this process is the child that `test` has started.
pub(crate) fn is_child(test: &str) -> bool {
    std::env::var(CHILD).is_ok_and(|name| name == test)
}

/// Runs the test of this name alone, in a process of its own.
pub(crate) fn child(test: &str, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(std::env::current_exe().expect("a test knows its own program"));
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command.env(CHILD, test).env_remove("RAMIE_WORKERS").env_remove("RAMIE_STACK_SIZE");
    command.envs(variables.iter().copied());
    command.output().expect("a child process can be started")
}

/// Runs the test of this name alone, and checks that it ends well; gives its standard error.
#[track_caller]
pub(crate) fn child_succeeds(test: &str, variables: &[(&str, &str)]) -> String {
    let output = child(test, variables);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{test} with {variables:?}: {:?}\n{text}\n{errors}", output.status);
    assert!(text.contains("1 passed"), "the child did not run {test}:\n{text}");
    errors
}

/// Counts what is alive.
#[derive(Clone, Debug, Default)]
pub(crate) struct Census {
    made: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
}

impl Census {
    /// One more to be counted.
    pub(crate) fn item(&self) -> Item {
        self.made.fetch_add(1, Ordering::Relaxed);
        Item { census: self.clone(), alive: true }
    }

    pub(crate) fn made(&self) -> usize {
        self.made.load(Ordering::SeqCst)
    }

    pub(crate) fn dropped(&self) -> usize {
        self.dropped.load(Ordering::SeqCst)
    }

    /// Every item was dropped, and there were this many.
    #[track_caller]
    pub(crate) fn assert_all_dropped(&self, made: usize) {
        assert_eq!(self.made.load(Ordering::SeqCst), made, "items made");
        assert_eq!(self.dropped(), made, "items dropped");
    }
}

/// Counted by a [`Census`]; aborts when it is dropped twice.
#[derive(Debug)]
pub(crate) struct Item {
    census: Census,
    alive: bool,
}

impl Drop for Item {
    fn drop(&mut self) {
        if !std::mem::replace(&mut self.alive, false) {
            eprintln!("an item was dropped twice");
            std::process::abort();
        }
        self.census.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

/// Raised without the panic hook, so that planned panics do not fill the output.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Planned(pub(crate) u64);

/// Panics as planned.
pub(crate) fn planned(id: u64) -> ! {
    std::panic::resume_unwind(Box::new(Planned(id)))
}

/// The number of a planned panic.
#[track_caller]
pub(crate) fn planned_id(payload: &(dyn std::any::Any + Send)) -> u64 {
    match payload.downcast_ref::<Planned>() {
        Some(planned) => planned.0,
        None => panic!("an unplanned panic: {:?}", message(payload)),
    }
}

/// The text of a panic.
pub(crate) fn message(payload: &(dyn std::any::Any + Send)) -> String {
    payload
        .downcast_ref::<&'static str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "(not text)".into())
}

/// Calls `f`, which panics, and gives the panic's payload.
#[track_caller]
pub(crate) fn panic_of<R>(f: impl FnOnce() -> R) -> Box<dyn std::any::Any + Send> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)) {
        Ok(_) => panic!("it was to panic"),
        Err(payload) => payload,
    }
}

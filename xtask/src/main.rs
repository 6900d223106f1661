//! `cargo xtask`: what is too long for the test suite.
//!
//! `cargo xtask soak [MINUTES] [SEED]` runs the stress tests again and again, each time with another seed and
//! the heat turned up, until the time is over or one of them fails. It prints each seed, so that
//! `RAMIE_SEED=<seed> RAMIE_SOAK=<heat> cargo test --test <name>` repeats a failure. After each round it prints how much
//! memory the tests had at most, where the operating system tells.

mod memory;

use memory::Peaks;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const USAGE: &str = "usage: cargo xtask soak|frames [MINUTES, by default 10] [SEED]";
/// How many times more each stress test does than in the suite.
const HEAT: &str = "4";
/// Time between two looks at the memory of the tests.
const LOOK_EVERY: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [task @ ("soak" | "frames"), rest @ ..] if rest.len() <= 2 => {
            let minutes = rest.first().map_or(Some(10), |text| text.parse::<u64>().ok());
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_nanos() as u64);
            let seed = rest.get(1).map_or(Some(now), |text| text.parse::<u64>().ok());
            match (minutes, seed) {
                (Some(minutes), Some(seed)) if *task == "frames" => frames(minutes * 60, seed),
                (Some(minutes), Some(seed)) => soak(Duration::from_secs(minutes * 60), seed),
                _ => complain("MINUTES and SEED are whole numbers"),
            }
        }
        _ => complain("no such task"),
    }
}

fn complain(what: &str) -> ExitCode {
    eprintln!("xtask: {what}; {USAGE}");
    ExitCode::from(2)
}

/// Runs the test of flat memory for so many seconds.
fn frames(seconds: u64, seed: u64) -> ExitCode {
    println!("{seconds} s of random frames, seed {seed}");
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "test",
            "--package",
            "ramie",
            "--quiet",
            "--test",
            "stress_frames",
            "resident",
            "--",
            "--nocapture",
        ])
        .env("RAMIE_SEED", seed.to_string())
        .env("RAMIE_SOAK_SECONDS", seconds.to_string())
        .status();
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => complain(&format!("cargo could not be started: {error}")),
    }
}

/// The stress tests, and the suites whose rounds grow with the heat.
const HEATED: [&str; 4] = ["stress_*", "cancellation", "channels", "futures"];

/// Runs these suites until `limit` has passed.
fn soak(limit: Duration, mut seed: u64) -> ExitCode {
    let begin = Instant::now();
    let mut rounds = 0;
    while begin.elapsed() < limit {
        rounds += 1;
        println!("round {rounds}, seed {seed}, {} s of {} s", begin.elapsed().as_secs(), limit.as_secs());
        let mut peaks = Peaks::default();
        let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["test", "--package", "ramie", "--quiet"])
            .args(HEATED.iter().flat_map(|suite| ["--test", *suite]))
            .env("RAMIE_SEED", seed.to_string())
            .env("RAMIE_SOAK", HEAT)
            .spawn()
            .and_then(|mut tests| {
                loop {
                    if let Some(status) = tests.try_wait()? {
                        break Ok(status);
                    }
                    peaks.look();
                    std::thread::sleep(LOOK_EVERY);
                }
            });
        println!("{peaks}");
        match status {
            Ok(status) if status.success() => {}
            Ok(status) => {
                eprintln!(
                    "xtask: round {rounds} failed ({status}); repeat it with RAMIE_SEED={seed} RAMIE_SOAK={HEAT}"
                );
                return ExitCode::FAILURE;
            }
            Err(error) => return complain(&format!("cargo could not be started: {error}")),
        }
        // Weyl's sequence: every round another seed, and the same ones for the same start.
        seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    }
    println!("{rounds} rounds passed");
    ExitCode::SUCCESS
}

//! The parent's side: runs the cells, one process each.
//!
//! Within each repetition all systems take their turn before the first is measured again, so that a drift of
//! the machine hits them alike. A process that outlives its budget is killed and counts as hanging; one that
//! ends by a signal or with an error counts as crashed. Neither ends the run. A run during which other
//! processes used a good part of the machine is repeated a few times.

use std::{
    io::{IsTerminal, Read, Write},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use crate::{
    cell::{Measured, Value},
    disturbance::Disturbance,
    plan::{Cell, Part},
    rivals::{self, Rival},
    schedule::{self, FirstRun, Limits, SLOW_RATIO, Showed, Wish},
};

/// From this share of the machine on, in per cent, other processes disturb a run so much that it is repeated.
const DISTURBED_PERCENT: f64 = 10.0;
/// The machine is left alone for so long before a disturbed run is repeated.
const DISTURBED_PAUSE: Duration = Duration::from_secs(2);
/// Runs that repeat disturbed ones may take this part of the whole time, in per cent, with their pauses.
const SPARE_PERCENT: u32 = 10;

/// What became of one run of a cell.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// It has measured something.
    Measured(Measured),
    /// It was killed when its budget was spent.
    Hung,
    /// It crashed, for this reason.
    Crashed(String),
    /// It computed something else than the others, as this text says.
    Wrong(String),
}

/// A cell with the outcomes of its runs.
#[derive(Clone, Debug)]
pub(crate) struct CellRuns {
    /// The cell.
    pub(crate) cell: Cell,
    /// An outcome for each run.
    pub(crate) outcomes: Vec<Outcome>,
    /// The share of the machine, in per cent, that other processes used during each run, where that is known.
    pub(crate) disturbances: Vec<f64>,
}

/// How to run cells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// How often each cell is run.
    pub(crate) runs: Limits,
    /// How often a run that other processes disturbed is repeated.
    pub(crate) retries: usize,
    /// Fewer repetitions within a cell.
    pub(crate) quick: bool,
    /// The time after which a run counts as hanging.
    pub(crate) budget: Duration,
    /// What all of it may take.
    pub(crate) time: Duration,
}

/// Runs cells.
#[derive(Debug)]
pub(crate) struct Runner {
    program: PathBuf,
    settings: Settings,
    began: Instant,
    /// What is left of the time that may be spent on runs which repeat disturbed ones.
    spare: Duration,
}

impl Settings {
    /// What `parts` ask for.
    pub(crate) fn wishes(&self, parts: &[Part]) -> Vec<Wish> {
        let wish = |part: &Part| Wish {
            cells: part.cells().len(),
            run: schedule::usual_time(part.workload.name, self.quick),
        };
        parts.iter().map(wish).collect()
    }

    /// A cell that has hung this often is not tried again.
    fn hangs_max(&self) -> usize {
        if self.quick { 1 } else { 2 }
    }
}

impl Runner {
    /// A runner with these settings, whose time begins now.
    pub(crate) fn new(settings: Settings) -> Result<Runner, String> {
        let program =
            std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
        let spare = settings.time * SPARE_PERCENT / 100;
        Ok(Runner { program, settings, began: Instant::now(), spare })
    }

    /// What the runs have taken until now.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Runs all cells of the first of `parts`, interleaved. The others are those that come later.
    pub(crate) fn run(&mut self, parts: &[Part]) -> Vec<CellRuns> {
        let part = &parts[0];
        let left = self.settings.time.saturating_sub(self.elapsed());
        let share = schedule::share(left, &self.settings.wishes(parts), self.settings.runs);
        let begin = Instant::now();
        let cells = part.cells().into_iter();
        let new = |cell| CellRuns { cell, outcomes: Vec::new(), disturbances: Vec::new() };
        let mut results: Vec<_> = cells.map(new).collect();
        let mut took = Vec::new();
        for result in &mut results {
            let begin = Instant::now();
            self.run_into(result, "first run", share.soft_limit);
            took.push(begin.elapsed());
        }
        let baseline = rivals::baseline(part.workload, &part.rivals);
        let first_run = |(result, took): (&CellRuns, &Duration)| FirstRun {
            took: *took,
            showed: match result.hangs() {
                0 if is_slow(result, &results, baseline) => Showed::Slow,
                0 => Showed::Usual,
                _ => Showed::Hangs(self.settings.hangs_max()),
            },
        };
        let first_runs: Vec<FirstRun> = results.iter().zip(&took).map(first_run).collect();
        let left = share.all.saturating_sub(begin.elapsed());
        let runs = schedule::runs_of(&first_runs, left, self.settings.runs);
        for run in 2..=runs.iter().copied().max().unwrap_or(0) {
            for (result, &runs) in results.iter_mut().zip(&runs) {
                if run <= runs && result.hangs() < self.settings.hangs_max() {
                    self.run_into(result, &format!("run {run} of {runs}"), share.soft_limit);
                }
            }
        }
        progress("");
        compare_checksums(&mut results);
        results
    }

    /// Runs the cell of `result` once more.
    fn run_into(&mut self, result: &mut CellRuns, which: &str, soft_limit: Duration) {
        let cell = result.cell;
        progress(&format!("{} {}, {} workers, {which}", cell.workload.name, cell.rival.name, cell.workers));
        let (outcome, disturbance) = self.run_cell_patiently(cell, soft_limit);
        result.outcomes.push(outcome);
        result.disturbances.extend(disturbance);
    }

    /// Runs one cell, again if it was disturbed; the outcome of the least disturbed try, and how much that was.
    fn run_cell_patiently(&mut self, cell: Cell, soft_limit: Duration) -> (Outcome, Option<f64>) {
        let mut best: Option<(Outcome, Option<f64>)> = None;
        for attempt in 0..=self.settings.retries {
            let begin = Instant::now();
            if attempt > 0 {
                thread::sleep(DISTURBED_PAUSE);
            }
            let disturbance = Disturbance::start();
            let outcome = self.run_cell(cell, soft_limit);
            let percent = disturbance.percent();
            let is_quiet = percent.is_none_or(|percent| percent < DISTURBED_PERCENT);
            // A failure is a result, however busy the machine was.
            if !matches!(outcome, Outcome::Measured(_)) {
                return (outcome, None);
            }
            if is_quiet {
                return (outcome, percent);
            }
            if best.as_ref().is_none_or(|(_, least)| percent < *least) {
                best = Some((outcome, percent));
            }
            if attempt > 0 {
                self.spare = self.spare.saturating_sub(begin.elapsed());
            }
            if self.spare.is_zero() {
                break;
            }
        }
        best.expect("there is at least one try")
    }

    /// Runs one cell once.
    fn run_cell(&self, cell: Cell, soft_limit: Duration) -> Outcome {
        let mut command = Command::new(&self.program);
        command.args(["cell", cell.workload.name, cell.rival.name]);
        command.args(["--workers", &cell.workers.to_string()]);
        // What takes much of the budget for one round has no time for another.
        let soft_limit = soft_limit.min(self.settings.budget / 4);
        command.args(["--soft-limit", &soft_limit.as_secs_f64().to_string()]);
        command.args(["--budget", &self.settings.budget.as_secs_f64().to_string()]);
        if self.settings.quick {
            command.arg("--quick");
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        match command.spawn() {
            Ok(child) => watch(child, self.settings.budget),
            Err(error) => Outcome::Crashed(format!("the process did not start: {error}")),
        }
    }
}

impl CellRuns {
    /// What its first run has measured.
    fn first(&self) -> Option<&Measured> {
        match self.outcomes.first()? {
            Outcome::Measured(measured) => Some(measured),
            _ => None,
        }
    }

    fn hangs(&self) -> usize {
        self.outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Hung)).count()
    }
}

/// Whether the system of `result` is slow beside `baseline`, in everything that both have measured.
fn is_slow(result: &CellRuns, results: &[CellRuns], baseline: Option<&Rival>) -> bool {
    let Some(baseline) = baseline else { return false };
    let of_baseline = || results.iter().filter(|other| other.cell.rival.name == baseline.name);
    let as_many = || of_baseline().find(|other| other.cell.workers == result.cell.workers);
    let (Some(mine), Some(its)) =
        (result.first(), as_many().or(of_baseline().next()).and_then(CellRuns::first))
    else {
        return false;
    };
    let ratio = |value: &Value| {
        let same = its.values.iter().find(|other| other.metric == value.metric)?;
        (same.value > 0.0).then(|| value.value / same.value)
    };
    let ratios: Vec<f64> = mine.values.iter().filter_map(ratio).collect();
    !ratios.is_empty() && ratios.iter().all(|ratio| *ratio >= SLOW_RATIO)
}

/// Waits for a cell's process, without using the processor meanwhile, and kills it when `budget` is spent.
fn watch(mut child: Child, budget: Duration) -> Outcome {
    let mut stdout = child.stdout.take().expect("it is piped");
    let mut stderr = child.stderr.take().expect("it is piped");
    let errors = thread::spawn(move || {
        let mut bytes = Vec::new();
        // What cannot be read is missing from the reason, no more.
        let _ = stderr.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let (sender, output) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stdout.read_to_end(&mut bytes);
        // The receiver is gone if the process was killed.
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    // The pipe ends when the process does.
    let output = output.recv_timeout(budget).ok();
    if output.is_none() {
        // It may just have ended by itself: then there is nothing to kill.
        let _ = child.kill();
    }
    let status = child.wait();
    reader.join().expect("the reader does not panic");
    let errors = errors.join().expect("the reader does not panic");
    match (output, status) {
        (None, _) => Outcome::Hung,
        (Some(_), Err(error)) => Outcome::Crashed(format!("its status is unknown: {error}")),
        (Some(_), Ok(status)) if !status.success() => Outcome::Crashed(crash_reason(status, &errors)),
        (Some(line), Ok(_)) => match serde_json::from_str(line.trim()) {
            Ok(measured) => Outcome::Measured(measured),
            Err(error) => Outcome::Crashed(format!("its output is not a result: {error}")),
        },
    }
}

/// Why a process failed, in a short line: its signal or status, and what it said last.
fn crash_reason(status: ExitStatus, errors: &str) -> String {
    let lines: Vec<&str> = errors.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let panic = lines.iter().position(|line| line.contains("panicked at"));
    let said = match panic {
        Some(index) => lines.get(index + 1).or(lines.get(index)),
        None => lines.last(),
    };
    let how = signal_name(status).unwrap_or_else(|| match (panic, status.code()) {
        (Some(_), _) => "panic".into(),
        (None, Some(code)) => format!("exit status {code}"),
        (None, None) => "unknown status".into(),
    });
    match said {
        Some(said) => format!("{how}: {}", said.chars().take(160).collect::<String>()),
        None => how,
    }
}

/// The name of the signal that ended a process.
#[cfg(unix)]
fn signal_name(status: ExitStatus) -> Option<String> {
    use std::os::unix::process::ExitStatusExt;
    Some(match status.signal()? {
        libc::SIGSEGV => "SIGSEGV".into(),
        libc::SIGABRT => "SIGABRT".into(),
        libc::SIGBUS => "SIGBUS".into(),
        libc::SIGILL => "SIGILL".into(),
        libc::SIGTRAP => "SIGTRAP".into(),
        libc::SIGFPE => "SIGFPE".into(),
        libc::SIGKILL => "SIGKILL".into(),
        other => format!("signal {other}"),
    })
}

/// There are no signals here.
#[cfg(not(unix))]
fn signal_name(_: ExitStatus) -> Option<String> {
    None
}

/// Turns results whose checksum differs from the first one's into wrong ones.
fn compare_checksums(results: &mut [CellRuns]) {
    let mut expected: Option<(String, &'static str)> = None;
    for result in results {
        let system = result.cell.rival.name;
        for outcome in &mut result.outcomes {
            let Outcome::Measured(Measured { checksum: Some(found), .. }) = outcome else { continue };
            match &expected {
                None => expected = Some((found.clone(), system)),
                Some((checksum, _)) if checksum == found => {}
                Some((checksum, by)) => {
                    *outcome = Outcome::Wrong(format!("checksum {found} where {by} has {checksum}"));
                }
            }
        }
    }
}

/// Shows what is being measured, where somebody is watching.
fn progress(line: &str) {
    let mut terminal = std::io::stderr();
    if terminal.is_terminal() {
        // Erases the line first. If the terminal is gone, so is the reader.
        let _ = write!(terminal, "\r\x1b[2K{line}");
        let _ = terminal.flush();
    }
}

#[cfg(all(test, unix))]
mod tests;

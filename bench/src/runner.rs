//! The parent's side: runs the cells, one process each.
//!
//! Within each repetition all systems take their turn before the first is measured again, so that a drift of
//! the machine hits them alike. A process that outlives its budget is killed and counts as hanging; one that
//! ends by a signal or with an error counts as crashed. Neither ends the run.

use std::{
    io::{IsTerminal, Read, Write},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::{
    cell::Measured,
    plan::{Cell, Part},
};

/// A cell that has hung this often is not tried again.
const HANGS_MAX: usize = 2;

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
}

/// Runs cells.
#[derive(Debug)]
pub(crate) struct Runner {
    program: PathBuf,
    runs: usize,
    quick: bool,
    budget: Duration,
}

impl Runner {
    /// A runner that runs each cell `runs` times.
    pub(crate) fn new(runs: usize, quick: bool, budget: Duration) -> Result<Runner, String> {
        let program =
            std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
        Ok(Runner { program, runs, quick, budget })
    }

    /// Runs all cells of `part`, interleaved.
    pub(crate) fn run(&self, part: &Part) -> Vec<CellRuns> {
        let cells = part.cells().into_iter();
        let mut results: Vec<_> = cells.map(|cell| CellRuns { cell, outcomes: Vec::new() }).collect();
        for run in 1..=self.runs {
            for result in &mut results {
                if result.hangs() >= HANGS_MAX {
                    continue;
                }
                let cell = result.cell;
                progress(&format!(
                    "{} {}, {} workers, run {run} of {}",
                    cell.workload.name, cell.rival.name, cell.workers, self.runs
                ));
                result.outcomes.push(self.run_cell(cell));
            }
        }
        progress("");
        compare_checksums(&mut results);
        results
    }

    /// Runs one cell once.
    fn run_cell(&self, cell: Cell) -> Outcome {
        let mut command = Command::new(&self.program);
        command.args(["cell", cell.workload.name, cell.rival.name]);
        command.args(["--workers", &cell.workers.to_string()]);
        command.args(["--budget", &self.budget.as_secs_f64().to_string()]);
        if self.quick {
            command.arg("--quick");
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        match command.spawn() {
            Ok(child) => watch(child, self.budget),
            Err(error) => Outcome::Crashed(format!("the process did not start: {error}")),
        }
    }
}

impl CellRuns {
    fn hangs(&self) -> usize {
        self.outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Hung)).count()
    }
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

//! Measures ramie against its rivals. `README.md` says how each workload is measured and how to read it.
//!
//! ```text
//! main      command line
//! plan      which cells to measure: workload x system x workers
//! runner    one process a cell, systems interleaved, hangs and crashes as results
//! cell      the other side of that: measures one cell in this process and prints a line of JSON
//! disturbance  what else the machine was busy with
//! summary   medians over the runs of a cell
//! report    the table in the terminal, the JSON file, results/RESULTS.md
//! resident  what the process has in memory
//! fork      what the recursions by join share       sizes  one workload in several sizes
//! workloads what is measured, a file each        rivals   on which systems, a file each
//! ```

mod busy;
mod cell;
mod coloured;
mod disturbance;
mod fork;
mod machine;
mod measure;
#[cfg(feature = "ramie")]
mod memory;
mod params;
mod placement;
mod plan;
mod random;
mod report;
mod resident;
mod rivals;
mod runner;
mod sizes;
mod summary;
mod workloads;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand};

use crate::{
    cell::CellArgs,
    machine::Machine,
    plan::Plan,
    report::{Report, Section},
    runner::{Runner, Settings},
};

/// Measures ramie against its rivals: every figure in a process of its own, the systems interleaved.
#[derive(Parser, Debug)]
#[command(name = "ramie-bench", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Measures one cell in this process and prints its result as a line of JSON.
    #[command(hide = true)]
    Cell(CellArgs),
}

#[derive(Args, Debug)]
struct Options {
    /// The workloads to measure; all of them if none is named.
    workloads: Vec<String>,
    /// The systems to measure, separated by commas; all of them by default.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    rivals: Vec<String>,
    /// The worker counts, separated by commas.
    #[arg(long, value_name = "COUNTS", value_delimiter = ',', default_value = "1,2")]
    workers: Vec<usize>,
    /// Runs of each cell, each a process [default: 7, quick: 3].
    #[arg(long, value_name = "N")]
    runs: Option<usize>,
    /// Fewer runs and fewer repetitions within each; the sizes of the problems stay the same.
    #[arg(long)]
    quick: bool,
    /// Repetitions of a run that other processes have disturbed.
    #[arg(long, value_name = "N", default_value_t = 2)]
    retries: usize,
    /// Seconds after which a cell counts as hanging [default: 30, quick: 10].
    #[arg(long, value_name = "SECONDS")]
    budget: Option<f64>,
    /// Write everything that was measured into this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write bench/results/RESULTS.md.
    #[arg(long)]
    results: bool,
    /// List the workloads and the systems, and measure nothing.
    #[arg(long)]
    list: bool,
}

impl Options {
    fn runs(&self) -> usize {
        self.runs.unwrap_or(if self.quick { 3 } else { 7 }).max(1)
    }

    fn settings(&self) -> Result<Settings, String> {
        let Options { quick, retries, .. } = *self;
        Ok(Settings { runs: self.runs(), retries, quick, budget: self.budget()? })
    }

    fn budget(&self) -> Result<Duration, String> {
        let seconds = self.budget.unwrap_or(if self.quick { 10.0 } else { 30.0 });
        match Duration::try_from_secs_f64(seconds) {
            Ok(budget) if !budget.is_zero() => Ok(budget),
            _ => Err(format!("--budget {seconds}: give a positive number of seconds")),
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.command {
        Some(Command::Cell(args)) => cell::run(args).map(|()| ExitCode::SUCCESS),
        None if cli.options.list => {
            report::list();
            Ok(ExitCode::SUCCESS)
        }
        None => run(&cli.options),
    };
    result.unwrap_or_else(|message| {
        eprintln!("ramie-bench: {message}");
        ExitCode::FAILURE
    })
}

/// Measures what `options` ask for, and reports it.
fn run(options: &Options) -> Result<ExitCode, String> {
    if cfg!(debug_assertions) {
        eprintln!("ramie-bench: this is a debug build, its figures say nothing: use cargo run --release");
    }
    let plan = Plan::new(&options.workloads, &options.rivals, &options.workers)?;
    let runner = Runner::new(options.settings()?)?;
    let mut report = Report::new(Machine::here(), options.runs(), options.quick);
    report.print_head();
    for part in plan.parts() {
        let section = Section::new(part, &runner.run(part));
        section.print();
        report.add(section);
    }
    if let Some(path) = &options.json {
        report.write_json(path)?;
    }
    if options.results {
        report.write_results()?;
    }
    // A hang or a crash is a result; two systems that computed different things are an error.
    Ok(if report.any_wrong() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

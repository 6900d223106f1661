//! Measures ramie against its rivals. `README.md` says how each workload is measured and how to read it.
//!
//! ```text
//! main      command line
//! plan      which cells to measure: workload x system x workers
//! schedule  how the time is divided among the cells
//! runner    one process a cell, systems interleaved, hangs and crashes as results
//! cell      the other side of that: measures one cell in this process and prints a line of JSON
//! disturbance  what else the machine was busy with
//! summary   medians over the runs of a cell
//! report    the table in the terminal, the JSON file, results/RESULTS.md
//! resident  what the process has in memory
//! instructions  counts them for each operation of ramie's hot paths
//! recording what a recording costs, and its exports
//! native    rivals that are programs of their own, and how they are built
//! fork      what the recursions by join share       sizes  one workload in several sizes
//! workloads what is measured, a file each        rivals   on which systems, a file each
//! ```

mod busy;
mod cell;
mod coloured;
mod disturbance;
mod fork;
#[cfg(feature = "ramie")]
mod instructions;
mod machine;
mod measure;
#[cfg(feature = "ramie")]
mod memory;
mod native;
mod params;
mod placement;
mod plan;
mod random;
#[cfg(feature = "ramie")]
mod recording;
mod report;
mod resident;
mod rivals;
mod runner;
mod schedule;
mod sizes;
mod summary;
mod workloads;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand};

use crate::{
    cell::CellArgs,
    machine::Machine,
    native::Sources,
    plan::Plan,
    report::{Report, Section},
    runner::{Runner, Settings},
    schedule::Limits,
};

/// The worker counts of a usual run, and of one that shows how systems scale.
const USUAL_WORKERS: [usize; 2] = [1, 2];
const SCALING_WORKERS: [usize; 6] = [1, 2, 4, 8, 16, 64];
/// What is measured with many worker counts if nothing is named.
const SCALING_WORKLOADS: [&str; 12] = [
    "fib",
    "flat_spawn",
    "flat_batch",
    "tree",
    "chain",
    "fanout",
    "imbalanced",
    "par_for",
    "npb",
    "outside",
    "wake_storm",
    "frame",
];
const SCALING_RIVALS: [&str; 2] = ["rayon", "ramie"];

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
    /// Counts the instructions of ramie's hot paths with valgrind, beside those in bench/results/instructions.json.
    #[cfg(feature = "ramie")]
    Instructions(instructions::InstructionsArgs),
    /// Times work with and without a recording, and the exports of one.
    #[cfg(feature = "ramie")]
    Recording,
    /// Runs a hot path so often, to be counted.
    #[cfg(feature = "ramie")]
    #[command(hide = true)]
    Path {
        /// The path's name.
        name: String,
        /// How often its round is run.
        rounds: u64,
    },
}

#[derive(Args, Debug)]
struct Options {
    /// The workloads to measure; all of them if none is named.
    workloads: Vec<String>,
    /// The systems to measure, separated by commas; all of them by default.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    rivals: Vec<String>,
    /// The worker counts, separated by commas.
    /// [default: 1,2; with --scaling: 1,2,4,8,16,64]
    #[arg(long, value_name = "COUNTS", value_delimiter = ',')]
    workers: Vec<usize>,
    /// What all of it may take, in minutes: rounds and runs are as many as there is time for [default: 60, quick: 5].
    #[arg(long, value_name = "N")]
    minutes: Option<f64>,
    /// Runs of each cell, each a process [default: 3 to 7, quick: 1 to 3, as there is time].
    #[arg(long, value_name = "N")]
    runs: Option<usize>,
    /// Fewer runs and fewer repetitions within each; the sizes of the problems stay the same.
    #[arg(long)]
    quick: bool,
    /// Repetitions of a run that other processes have disturbed.
    #[arg(long, value_name = "N", default_value_t = 2)]
    retries: usize,
    /// Seconds after which a cell counts as hanging [default: 20, quick: 5].
    #[arg(long, value_name = "SECONDS")]
    budget: Option<f64>,
    /// Write everything that was measured into this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write bench/results/RESULTS.md and its pictures.
    #[arg(long, conflicts_with = "scaling")]
    results: bool,
    /// The folder with a rival's sources, for rivals that are not packages; may be given several times. The
    /// environment variable RAMIE_BENCH_SOURCES names a folder that holds them all, by their projects' names.
    #[arg(long = "source", value_name = "NAME=DIR")]
    sources: Vec<String>,
    /// Measure with many worker counts what can have them, and write bench/results/SCALING.md and its pictures
    /// [default: some workloads, of ramie and rayon].
    #[arg(long)]
    scaling: bool,
    /// List the workloads and the systems, and measure nothing.
    #[arg(long)]
    list: bool,
}

impl Options {
    /// The workloads and systems to measure, with which worker counts.
    fn plan(&self) -> Result<Plan, String> {
        let or = |given: &[String], others: &[&str]| match given {
            [] if self.scaling => others.iter().map(|name| name.to_string()).collect(),
            given => given.to_vec(),
        };
        let workers = match self.workers.as_slice() {
            [] if self.scaling => &SCALING_WORKERS,
            [] => &USUAL_WORKERS[..],
            given => given,
        };
        Plan::new(&or(&self.workloads, &SCALING_WORKLOADS), &or(&self.rivals, &SCALING_RIVALS), workers)
    }

    fn runs(&self) -> Limits {
        match (self.runs, self.quick) {
            (Some(runs), _) => Limits { least: runs.max(1), most: runs.max(1) },
            (None, true) => Limits { least: 1, most: 3 },
            (None, false) => Limits { least: 3, most: 7 },
        }
    }

    fn settings(&self) -> Result<Settings, String> {
        let Options { quick, retries, .. } = *self;
        let seconds = |full: f64, short: f64| if quick { short } else { full };
        let budget = positive("--budget", self.budget.unwrap_or(seconds(20.0, 5.0)))?;
        let minutes = self.minutes.unwrap_or(seconds(60.0, 5.0));
        let time = positive("--minutes", minutes * 60.0)?;
        Ok(Settings { runs: self.runs(), retries, quick, budget, time })
    }

    fn sources(&self) -> Result<Sources, String> {
        let all = std::env::var_os(native::VARIABLE).map(PathBuf::from);
        Sources::new(&self.sources, all.as_deref())
    }
}

/// So many seconds; `option` is what asked for them.
fn positive(option: &str, seconds: f64) -> Result<Duration, String> {
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if !time.is_zero() => Ok(time),
        _ => Err(format!("{option}: give a positive number")),
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.command {
        Some(Command::Cell(args)) => cell::run(args).map(|()| ExitCode::SUCCESS),
        #[cfg(feature = "ramie")]
        Some(Command::Instructions(args)) => {
            instructions::run(*args).map(|same| if same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        #[cfg(feature = "ramie")]
        Some(Command::Path { name, rounds }) => {
            instructions::run_path(name, *rounds).map(|()| ExitCode::SUCCESS)
        }
        #[cfg(feature = "ramie")]
        Some(Command::Recording) => recording::run().map(|()| ExitCode::SUCCESS),
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
    let mut plan = options.plan()?;
    let prepared = native::prepare(&mut plan, &options.rivals, &options.sources()?)?;
    let settings = options.settings()?;
    let mut report = Report::new(Machine::here().with(prepared), &settings);
    report.print_head(&schedule::estimate(settings.time, &settings.wishes(plan.parts()), settings.runs));
    let mut runner = Runner::new(settings)?;
    for (index, part) in plan.parts().iter().enumerate() {
        let section = Section::new(part, &runner.run(&plan.parts()[index..]));
        section.print();
        report.add(section, runner.elapsed());
    }
    report.print_end();
    if let Some(path) = &options.json {
        report.write_json(path)?;
    }
    if options.results {
        report.write_results()?;
    }
    if options.scaling {
        report.write_scaling()?;
    }
    // A hang or a crash is a result; two systems that computed different things are an error.
    Ok(if report.any_wrong() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

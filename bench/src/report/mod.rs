//! What a run of the harness shows and writes.

mod grid;
mod markdown;
mod plot;
mod scaling;
mod section;

use std::{collections::BTreeMap, path::Path, time::Duration};

use serde::Serialize;

use self::plot::Plot;
pub(crate) use self::section::Section;
use crate::{machine::Machine, native, rivals, runner::Settings, schedule::Estimate, workloads};

/// Everything that a run of the harness has measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    command: String,
    machine: Machine,
    quick: bool,
    /// What all of it was allowed to take.
    minutes_allowed: f64,
    /// What it took.
    minutes_taken: f64,
    /// The time after which a run counted as hanging.
    budget_s: f64,
    /// How many cells were run how often.
    cells_by_runs: BTreeMap<usize, usize>,
    sections: Vec<Section>,
}

impl Report {
    /// A report without sections.
    pub(crate) fn new(machine: Machine, settings: &Settings) -> Report {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let has_sources = std::env::var_os(native::VARIABLE).is_some();
        Report {
            command: command(&arguments, has_sources),
            machine,
            quick: settings.quick,
            minutes_allowed: minutes(settings.time),
            minutes_taken: 0.0,
            budget_s: settings.budget.as_secs_f64(),
            cells_by_runs: BTreeMap::new(),
            sections: Vec::new(),
        }
    }

    /// Prints where and how this is measured, and what it will take.
    pub(crate) fn print_head(&self, estimate: &Estimate) {
        for (label, text) in self.machine.lines() {
            println!("{label:<10}{text}");
        }
        println!("{:<10}{}", "figures", self.figures_are());
        let Estimate { cells, runs, usual, most } = *estimate;
        let each = most.as_secs_f64() / (cells * runs).max(1) as f64;
        println!(
            "{:<10}{cells} cells, {runs} runs of most, {each:.2} s a run at the most: {:.1} to {:.1} minutes of {:.1}",
            "plan",
            minutes(usual),
            minutes(most),
            self.minutes_allowed
        );
    }

    /// Prints what it has taken.
    pub(crate) fn print_end(&self) {
        println!("\n{}", self.runs_were());
    }

    /// What the figures are, in a sentence.
    fn figures_are(&self) -> String {
        let quick = if self.quick { "quick; " } else { "" };
        format!(
            "{quick}median, smallest and largest of the runs, each a process; less is better, unless said otherwise"
        )
    }

    /// How often the cells were run, in a sentence.
    fn runs_were(&self) -> String {
        let cells: usize = self.cells_by_runs.values().sum();
        let mut by_runs: Vec<String> = Vec::new();
        for (runs, count) in self.cells_by_runs.iter().rev() {
            by_runs.push(format!("{count} with {runs} run{}", if *runs == 1 { "" } else { "s" }));
        }
        format!(
            "{cells} cells, {}; {:.1} minutes of {:.1}; killed after {:.0} s",
            by_runs.join(", "),
            self.minutes_taken,
            self.minutes_allowed,
            self.budget_s
        )
    }

    /// Adds a workload's results, after all of it has taken so long.
    pub(crate) fn add(&mut self, section: Section, taken: Duration) {
        for runs in section.runs_of_cells() {
            *self.cells_by_runs.entry(runs).or_default() += 1;
        }
        self.minutes_taken = minutes(taken);
        self.sections.push(section);
    }

    /// Whether two systems computed different things.
    pub(crate) fn any_wrong(&self) -> bool {
        self.sections.iter().any(Section::any_wrong)
    }

    /// Writes everything into `path`.
    pub(crate) fn write_json(&self, path: &Path) -> Result<(), String> {
        let text = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        write(path, &(text + "\n"))
    }

    /// Writes `results/RESULTS.md` and its pictures beside the harness's manifest.
    pub(crate) fn write_results(&self) -> Result<(), String> {
        let plots: Vec<Vec<Plot>> = self.sections.iter().map(plot::plots).collect();
        self.write_page("RESULTS.md", &markdown::page(self, &plots), plots.iter().flatten())
    }

    /// Writes `results/SCALING.md` and its pictures, likewise.
    pub(crate) fn write_scaling(&self) -> Result<(), String> {
        let plots: Vec<Option<Plot>> = self.sections.iter().map(plot::scaling).collect();
        self.write_page("SCALING.md", &scaling::page(self, &plots), plots.iter().flatten())
    }

    fn write_page<'a>(
        &self,
        name: &str,
        page: &str,
        plots: impl Iterator<Item = &'a Plot>,
    ) -> Result<(), String> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
        let plots_directory = directory.join(PLOTS);
        std::fs::create_dir_all(&plots_directory)
            .map_err(|error| format!("cannot make {}: {error}", plots_directory.display()))?;
        for plot in plots {
            write(&plots_directory.join(format!("{}.svg", plot.name)), &plot.svg)?;
        }
        write(&directory.join(name), page)?;
        println!("\nwrote bench/results/{name} and its pictures in bench/results/{PLOTS}");
        Ok(())
    }
}

/// The folder of the pictures, in the folder of the pages.
const PLOTS: &str = "plots";

/// The line of a page that shows a picture.
fn picture(plot: &Plot) -> String {
    format!("\n![{}]({PLOTS}/{}.svg)\n", plot.about, plot.name)
}

/// Prints the workloads and the systems.
pub(crate) fn list() {
    println!("workloads");
    for workload in workloads::ALL {
        println!("  {:<16} {}", workload.name, workload.about);
        for metric in workload.metrics {
            println!("  {:<16}   {} ({}): {}", "", metric.name, metric.unit, metric.about);
        }
    }
    println!("\nsystems");
    for rival in rivals::ALL {
        let version = rival.version().map(|version| format!(" {version}")).unwrap_or_default();
        println!("  {:<16} {}{}", rival.name, rival.about, version);
    }
}

fn minutes(time: Duration) -> f64 {
    time.as_secs_f64() / 60.0
}

/// The command that runs the harness with these arguments, but for where the JSON goes, and where folders lie.
fn command(arguments: &[String], has_sources: bool) -> String {
    let mut command = if has_sources { format!("{}=DIR ", native::VARIABLE) } else { String::new() };
    command += "cargo run --release --manifest-path bench/Cargo.toml --";
    let without_folder =
        |source: &str| source.split_once('=').map_or(source.into(), |(name, _)| format!("{name}=DIR"));
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => drop(arguments.next()),
            other if other.starts_with("--json=") => {}
            "--source" => {
                let source = arguments.next().map(|source| without_folder(source)).unwrap_or_default();
                command += &format!(" --source {source}");
            }
            other if other.starts_with("--source=") => {
                command += &format!(" --source {}", without_folder(&other["--source=".len()..]));
            }
            other => command += &format!(" {other}"),
        }
    }
    command.trim_end_matches(" --").into()
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests;

//! What a run of the harness shows and writes.

mod grid;
mod markdown;
mod section;

use std::path::{Path, PathBuf};

use serde::Serialize;

pub(crate) use self::section::Section;
use crate::{machine::Machine, native, rivals, workloads};

/// Everything that a run of the harness has measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    command: String,
    machine: Machine,
    runs: usize,
    quick: bool,
    sections: Vec<Section>,
}

impl Report {
    /// A report without sections.
    pub(crate) fn new(machine: Machine, runs: usize, quick: bool) -> Report {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let has_sources = std::env::var_os(native::VARIABLE).is_some();
        Report { command: command(&arguments, has_sources), machine, runs, quick, sections: Vec::new() }
    }

    /// Prints where and how this is measured.
    pub(crate) fn print_head(&self) {
        for (label, text) in self.machine.lines() {
            println!("{label:<10}{text}");
        }
        println!("{:<10}{}", "figures", self.figures_are());
    }

    /// What the figures are, in a sentence.
    fn figures_are(&self) -> String {
        let quick = if self.quick { "quick; " } else { "" };
        let runs = self.runs;
        format!(
            "{quick}median, smallest and largest of {runs} runs, each a process; less is better, unless said otherwise"
        )
    }

    /// Adds a workload's results.
    pub(crate) fn add(&mut self, section: Section) {
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

    /// Writes `results/RESULTS.md` beside the harness's manifest.
    pub(crate) fn write_results(&self) -> Result<(), String> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
        std::fs::create_dir_all(&directory)
            .map_err(|error| format!("cannot make {}: {error}", directory.display()))?;
        let path: PathBuf = directory.join("RESULTS.md");
        write(&path, &markdown::page(self))?;
        println!("\nwrote bench/results/RESULTS.md");
        Ok(())
    }
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

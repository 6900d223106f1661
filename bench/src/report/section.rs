//! A workload's part of a report: a table for each of its metrics.

use serde::Serialize;

use super::grid::{Grid, figure, figure_in};
use crate::{
    plan::Part,
    rivals::{self, Kind},
    runner::CellRuns,
    summary::Summary,
    workloads::Metric,
};

/// From this share of the machine on, other processes are worth a warning.
const DISTURBANCE_PERCENT: f64 = 10.0;

/// A workload's results.
#[derive(Debug, Serialize)]
pub(crate) struct Section {
    /// The workload's name.
    pub(super) workload: &'static str,
    /// What it does.
    pub(super) about: &'static str,
    /// The system that the ratios refer to.
    pub(super) baseline: Option<&'static str>,
    /// The systems of the report, in its order.
    pub(super) systems: Vec<&'static str>,
    /// The worker counts, ascending.
    pub(super) workers: Vec<usize>,
    /// The share of the machine, in per cent, that other processes used during the most disturbed run, where
    /// that is known.
    pub(super) disturbance_percent: Option<f64>,
    /// How often each of its cells was run.
    #[serde(skip)]
    runs_of_cells: Vec<usize>,
    /// Its metrics.
    pub(super) metrics: Vec<MetricSection>,
}

/// A metric's results.
#[derive(Debug, Serialize)]
pub(crate) struct MetricSection {
    /// The metric's name.
    pub(super) name: &'static str,
    /// Its unit.
    pub(super) unit: &'static str,
    /// What it says.
    pub(super) about: &'static str,
    /// What was measured.
    pub(super) entries: Vec<Entry>,
}

/// A metric of a system with a number of workers.
#[derive(Debug, Serialize)]
pub(crate) struct Entry {
    pub(super) system: &'static str,
    pub(super) workers: usize,
    #[serde(flatten)]
    pub(super) summary: Summary,
}

impl Section {
    /// Summarises the runs of `part`.
    pub(crate) fn new(part: &Part, runs: &[CellRuns]) -> Section {
        let workload = part.workload;
        let metric_section = |metric: &Metric| MetricSection {
            name: metric.name,
            unit: metric.unit,
            about: metric.about,
            entries: runs
                .iter()
                .filter_map(|runs| {
                    let summary = Summary::new(runs, metric)?;
                    Some(Entry { system: runs.cell.rival.name, workers: runs.cell.workers, summary })
                })
                .collect(),
        };
        Section {
            workload: workload.name,
            about: workload.about,
            baseline: rivals::baseline(workload, &part.rivals).map(|rival| rival.name),
            systems: part.rivals.iter().map(|rival| rival.name).collect(),
            workers: part.workers.clone(),
            disturbance_percent: runs.iter().flat_map(|runs| &runs.disturbances).copied().reduce(f64::max),
            runs_of_cells: runs.iter().map(|runs| runs.outcomes.len()).collect(),
            metrics: workload.metrics.iter().map(metric_section).filter(MetricSection::is_measured).collect(),
        }
    }

    /// How often each cell was run.
    pub(super) fn runs_of_cells(&self) -> impl Iterator<Item = usize> {
        self.runs_of_cells.iter().copied()
    }

    /// Prints the tables.
    pub(crate) fn print(&self) {
        println!("\n{}: {}", self.workload, self.about);
        if let Some(warning) = self.disturbance() {
            println!("  {warning}");
        }
        for metric in &self.metrics {
            println!("\n  {}", self.caption(metric));
            print!("{}", self.grid(metric).to_text());
            for note in self.notes(metric) {
                println!("  {note}");
            }
        }
    }

    /// Whether a system computed something else than the others.
    pub(super) fn any_wrong(&self) -> bool {
        self.metrics.iter().flat_map(|metric| &metric.entries).any(|entry| entry.summary.is_wrong())
    }

    /// A warning, if others used the machine meanwhile.
    pub(super) fn disturbance(&self) -> Option<String> {
        let percent = self.disturbance_percent.filter(|percent| *percent >= DISTURBANCE_PERCENT)?;
        Some(format!("disturbed: other processes used up to {percent:.0} % of the machine during a run"))
    }

    /// What the table of `metric` shows, in a line.
    pub(super) fn caption(&self, metric: &MetricSection) -> String {
        let ratio = self.baseline.map(|name| format!("; ratio to {name}")).unwrap_or_default();
        format!("{}, {}: {}{ratio}", metric.name, metric.unit, metric.about)
    }

    /// The table of `metric`: a row for each system, a group of columns for each number of workers.
    pub(super) fn grid(&self, metric: &MetricSection) -> Grid {
        let mut header = vec!["system".to_string()];
        for &workers in &self.workers {
            header.extend([plural(workers), "min".into(), "max".into()]);
            header.extend(self.baseline.map(|_| "ratio".into()));
        }
        let mut grid = Grid::new(header);
        for &system in self.systems_in(metric) {
            let mut row = vec![system.to_string()];
            for &workers in &self.workers {
                row.extend(self.cells(metric, system, workers));
            }
            grid.row(row);
        }
        grid
    }

    /// The systems with a row in the table of `metric`: all but references and variants that do not have it.
    fn systems_in<'a>(&'a self, metric: &'a MetricSection) -> impl Iterator<Item = &'a &'static str> {
        let is_system = |name: &str| rivals::find(name).is_some_and(|rival| rival.kind == Kind::System);
        let is_measured = |name: &str| metric.entries.iter().any(|entry| entry.system == name);
        self.systems.iter().filter(move |name| is_measured(name) || is_system(name))
    }

    /// A system's cells in the group of columns for that many workers.
    fn cells(&self, metric: &MetricSection, system: &str, workers: usize) -> Vec<String> {
        let figures =
            metric.entry(system, workers).and_then(|entry| entry.summary.figures.as_ref()).map(|figures| {
                [figures.median, figures.min, figures.max].map(|value| figure_in(value, metric.unit))
            });
        let mut cells =
            figures.unwrap_or_else(|| [metric.short(system, workers), String::new(), String::new()]).to_vec();
        if self.baseline.is_some() {
            let ratio = self
                .baseline_figure(metric, workers)
                .and_then(|baseline| Some(metric.median(system, workers)? / baseline));
            cells.push(ratio.map(figure_of_ratio).unwrap_or_default());
        }
        cells
    }

    /// The baseline's median with that many workers, else with the fewest that it was measured with.
    pub(super) fn baseline_figure(&self, metric: &MetricSection, workers: usize) -> Option<f64> {
        let baseline = self.baseline?;
        let counts = std::iter::once(workers).chain(self.workers.iter().copied());
        let mut figures = counts.filter_map(|count| metric.median(baseline, count));
        figures.next().filter(|median| *median > 0.0)
    }

    /// Sentences about failures and forms.
    pub(super) fn notes(&self, metric: &MetricSection) -> Vec<String> {
        let mut notes = Vec::new();
        for Entry { system, workers, summary } in &metric.entries {
            let who = format!("{system}, {}", plural(*workers));
            if let Some(form) = summary.figures.as_ref().and_then(|figures| figures.form.as_ref()) {
                notes.push(format!("{who}: best form: {form}"));
            }
            for failure in &summary.failures {
                let reason =
                    if failure.reason.is_empty() { String::new() } else { format!(": {}", failure.reason) };
                notes.push(format!(
                    "{who}: {} in {} of {} runs{reason}",
                    failure.word, failure.times, summary.runs
                ));
            }
        }
        notes
    }
}

impl MetricSection {
    /// Whether any system has it.
    fn is_measured(&self) -> bool {
        !self.entries.is_empty()
    }

    pub(super) fn entry(&self, system: &str, workers: usize) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.system == system && entry.workers == workers)
    }

    /// The median of a system with that many workers.
    pub(super) fn median(&self, system: &str, workers: usize) -> Option<f64> {
        self.entry(system, workers)?.summary.figures.as_ref().map(|figures| figures.median)
    }

    /// A system's median as text, or the word for its failure, or `-`.
    pub(super) fn short(&self, system: &str, workers: usize) -> String {
        match (self.median(system, workers), self.entry(system, workers)) {
            (Some(median), _) => figure_in(median, self.unit),
            (None, Some(entry)) => entry.summary.failures.first().map_or("-", |failure| failure.word).into(),
            (None, None) => "-".into(),
        }
    }
}

pub(super) fn figure_of_ratio(ratio: f64) -> String {
    if ratio >= 9.995 { figure(ratio) } else { format!("{ratio:.2}") }
}

pub(super) fn plural(workers: usize) -> String {
    if workers == 1 { "1 worker".into() } else { format!("{workers} workers") }
}

#[cfg(test)]
mod tests;

//! What to measure: for each workload, the systems and the worker counts.

use crate::{
    rivals::{self, Rival},
    workloads::{self, Workload},
};

/// All that a run of the harness measures.
#[derive(Debug)]
pub(crate) struct Plan {
    parts: Vec<Part>,
}

/// A workload with the systems and worker counts that it is measured with.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// The workload.
    pub(crate) workload: &'static Workload,
    /// The systems of the report, whether they can express the workload or not.
    pub(crate) rivals: Vec<&'static Rival>,
    /// The worker counts, ascending.
    pub(crate) workers: Vec<usize>,
}

/// A workload on a system with a number of workers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    /// The workload.
    pub(crate) workload: &'static Workload,
    /// The system.
    pub(crate) rival: &'static Rival,
    /// Its worker threads.
    pub(crate) workers: usize,
}

impl Plan {
    /// Looks the names up; an empty list of names means all.
    pub(crate) fn new(workloads: &[String], rivals: &[String], workers: &[usize]) -> Result<Plan, String> {
        let mut worker_counts = workers.to_vec();
        worker_counts.sort_unstable();
        worker_counts.dedup();
        if worker_counts.first().is_none_or(|least| *least == 0) {
            return Err("--workers: give counts of 1 or more, separated by commas".into());
        }
        let rivals = select(rivals, rivals::ALL, rivals::find, |rival| rival.name, "system")?;
        let workloads = select(workloads, workloads::ALL, workloads::find, |load| load.name, "workload")?;
        let part = |workload: &'static Workload| Part {
            workload,
            rivals: rivals.clone(),
            workers: workload.workers.of(&worker_counts),
        };
        Ok(Plan { parts: workloads.into_iter().map(part).collect() })
    }

    /// The systems that have something to measure.
    pub(crate) fn rivals(&self) -> Vec<&'static Rival> {
        let cells: Vec<Cell> = self.parts.iter().flat_map(Part::cells).collect();
        let is_measured = |rival: &&'static Rival| cells.iter().any(|cell| cell.rival.name == rival.name);
        rivals::ALL.iter().copied().filter(is_measured).collect()
    }

    /// Leaves out the system called `name`, as if there were none of this name.
    pub(crate) fn leave_out(&mut self, name: &str) {
        self.parts.iter_mut().for_each(|part| part.rivals.retain(|rival| rival.name != name));
    }

    /// The workloads, in the order of the report.
    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }
}

impl Part {
    /// The cells to measure: only those that their system can express.
    pub(crate) fn cells(&self) -> Vec<Cell> {
        let workload = self.workload;
        let mut cells = Vec::new();
        for &workers in &self.workers {
            for &rival in self.rivals.iter().filter(|rival| rival.supports(workload, workers)) {
                cells.push(Cell { workload, rival, workers });
            }
        }
        cells
    }
}

/// The items that are named, or all.
fn select<T>(
    names: &[String],
    all: &[&'static T],
    find: impl Fn(&str) -> Option<&'static T>,
    name_of: impl Fn(&T) -> &'static str,
    kind: &str,
) -> Result<Vec<&'static T>, String> {
    if names.is_empty() {
        return Ok(all.to_vec());
    }
    let known = || all.iter().map(|item| name_of(item)).collect::<Vec<_>>().join(", ");
    let lookup = |name: &String| {
        find(name).ok_or_else(|| format!("no {kind} is called '{name}'; there are: {}", known()))
    };
    names.iter().map(lookup).collect()
}

#[cfg(test)]
mod tests;

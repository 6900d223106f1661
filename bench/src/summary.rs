//! Medians over the runs of a cell.

use serde::Serialize;

use crate::{
    measure::median,
    runner::{CellRuns, Outcome},
    workloads::Metric,
};

/// A metric of a cell, over all of its runs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary {
    /// What came out, if any run measured something.
    pub(crate) figures: Option<Figures>,
    /// Runs that measured nothing, as a word for the table and a sentence for the notes.
    pub(crate) failures: Vec<Failure>,
    /// Runs in all.
    pub(crate) runs: usize,
}

/// What the runs measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figures {
    /// The median over the runs.
    pub(crate) median: f64,
    /// The smallest.
    pub(crate) min: f64,
    /// The largest.
    pub(crate) max: f64,
    /// All of them, in the order of the runs.
    pub(crate) samples: Vec<f64>,
    /// The form that was best in most runs, where a system was measured in several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) form: Option<String>,
}

/// A kind of failure of a cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Failure {
    /// The word for the table: hangs, crashes, wrong.
    pub(crate) word: &'static str,
    /// What is known about it; empty if nothing is.
    pub(crate) reason: String,
    /// In how many runs it happened.
    pub(crate) times: usize,
}

impl Summary {
    /// Summarises `metric` over the runs of a cell. `None` if the system does not have this metric.
    pub(crate) fn new(runs: &CellRuns, metric: &Metric) -> Option<Summary> {
        let mut samples = Vec::new();
        let mut forms = Vec::new();
        let mut failures: Vec<Failure> = Vec::new();
        let mut fail = |word, reason: &str| match failures
            .iter_mut()
            .find(|known| known.word == word && known.reason == reason)
        {
            Some(known) => known.times += 1,
            None => failures.push(Failure { word, reason: reason.into(), times: 1 }),
        };
        for outcome in &runs.outcomes {
            match outcome {
                Outcome::Measured(measured) => {
                    let value = measured.values.iter().find(|value| value.metric == metric.name);
                    samples.extend(value.map(|value| value.value));
                    forms.extend(value.and_then(|value| value.form.clone()));
                }
                Outcome::Hung => fail("hangs", ""),
                Outcome::Crashed(reason) => fail("crashes", reason),
                Outcome::Wrong(reason) => fail("wrong", reason),
            }
        }
        if samples.is_empty() && failures.is_empty() {
            return None;
        }
        let figures = (!samples.is_empty()).then(|| Figures {
            median: median(samples.clone()),
            min: samples.iter().copied().fold(f64::INFINITY, f64::min),
            max: samples.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            form: most_frequent(forms),
            samples,
        });
        Some(Summary { figures, failures, runs: runs.outcomes.len() })
    }

    /// Whether a run computed something else than the others.
    pub(crate) fn is_wrong(&self) -> bool {
        self.failures.iter().any(|failure| failure.word == "wrong")
    }
}

/// The item that occurs most often; of several, the first.
fn most_frequent(items: Vec<String>) -> Option<String> {
    let count = |item: &String| items.iter().filter(|other| *other == item).count();
    items.iter().rev().max_by_key(|item| count(item)).cloned()
}

#[cfg(test)]
mod tests;

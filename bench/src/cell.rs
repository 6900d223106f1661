//! One cell, measured in this process: what the hidden `cell` subcommand does.
//!
//! A cell is a workload on a system with a number of workers. The parent starts one process for each
//! repetition of each cell; the process prints one line of JSON and ends. Whatever goes wrong in it - a
//! crash, a hang, a panic - ends this process only, and is a result for the parent to show.
#![expect(unsafe_code, reason = "sets an alarm through libc")]

use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::{params::Params, rivals, workloads};

/// The arguments of the `cell` subcommand.
#[derive(Args, Clone, Debug)]
pub(crate) struct CellArgs {
    /// The workload's name.
    pub(crate) workload: String,
    /// The system's name.
    pub(crate) system: String,
    /// Worker threads.
    #[arg(long)]
    pub(crate) workers: usize,
    /// Fewer repetitions inside the cell.
    #[arg(long)]
    pub(crate) quick: bool,
    /// The cell's share of the time, in seconds.
    #[arg(long)]
    pub(crate) soft_limit: f64,
    /// The time after which the parent ends the cell, in seconds.
    #[arg(long)]
    pub(crate) budget: f64,
}

/// What a cell measured: the one line that it prints.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Measured {
    /// A figure for each metric of the workload that the system has.
    pub(crate) values: Vec<Value>,
    /// What the workload computed, in a form that must be equal for all systems and worker counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) checksum: Option<String>,
}

/// One figure.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Value {
    /// The metric's name in the workload's table.
    pub(crate) metric: String,
    /// The figure, in the metric's unit.
    pub(crate) value: f64,
    /// The form that gave it, where a system was measured in several and this was the best.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) form: Option<String>,
}

impl Measured {
    /// A result of one figure.
    pub(crate) fn one(metric: &str, value: f64) -> Measured {
        Measured::default().with(metric, value)
    }

    /// Adds a figure.
    pub(crate) fn with(mut self, metric: &str, value: f64) -> Measured {
        self.values.push(Value { metric: metric.into(), value, form: None });
        self
    }

    /// Adds the smallest of several forms' figures, and says whose it was, if there is more than one.
    pub(crate) fn with_best(mut self, metric: &str, forms: Vec<(String, f64)>) -> Measured {
        let has_choice = forms.len() > 1;
        let best = forms.into_iter().min_by(|left, right| left.1.total_cmp(&right.1));
        let (form, value) = best.expect("there is at least one form");
        self.values.push(Value { metric: metric.into(), value, form: has_choice.then_some(form) });
        self
    }

    /// Sets the checksum.
    pub(crate) fn checked(mut self, checksum: String) -> Measured {
        self.checksum = Some(checksum);
        self
    }
}

/// Ends this process some seconds after `budget`, should the parent that is to do it be gone by then.
fn end_after(budget: Duration) {
    let seconds = budget.as_secs().saturating_add(5).try_into().unwrap_or(u32::MAX);
    // SAFETY: this sets a timer of this process, and nobody else here uses it.
    unsafe { libc::alarm(seconds) };
}

/// Measures the cell and prints its line.
pub(crate) fn run(args: &CellArgs) -> Result<(), String> {
    let workload = workloads::find(&args.workload)
        .ok_or_else(|| format!("no workload is called '{}'", args.workload))?;
    let system =
        rivals::find(&args.system).ok_or_else(|| format!("no system is called '{}'", args.system))?;
    let measure = system
        .measure(workload)
        .ok_or_else(|| format!("{} cannot express the workload {}", system.name, workload.name))?;
    end_after(Duration::from_secs_f64(args.budget));
    let params = Params {
        workers: args.workers,
        quick: args.quick,
        soft_limit: Duration::from_secs_f64(args.soft_limit),
    };
    let measured = measure(&params);
    println!("{}", serde_json::to_string(&measured).map_err(|error| error.to_string())?);
    Ok(())
}

//! What the job system did between two moments.

use std::time::Duration;

use ramie::Stats;

/// The difference of two readings of the system's statistics.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) elapsed: Duration,
    /// The share of the workers' time in which they had work, in percent.
    pub(crate) busy_percent: f64,
    pub(crate) jobs_per_second: f64,
    pub(crate) jobs: u64,
    pub(crate) steals: u64,
    pub(crate) suspensions: u64,
}

impl Load {
    /// What was done between two readings that lie `elapsed` apart.
    pub(crate) fn between(before: &Stats, after: &Stats, elapsed: Duration) -> Self {
        let busy = |stats: &Stats| stats.busy.iter().sum::<Duration>();
        let available = elapsed.as_secs_f64() * after.busy.len() as f64;
        let jobs = after.jobs.saturating_sub(before.jobs);
        // Readings are approximate: without the limit a busy worker could show a little over 100 %.
        let busy_share = busy(after).saturating_sub(busy(before)).as_secs_f64() / available.max(1e-9);
        Self {
            elapsed,
            busy_percent: 100.0 * busy_share.min(1.0),
            jobs_per_second: jobs as f64 / elapsed.as_secs_f64().max(1e-9),
            jobs,
            steals: after.steals.saturating_sub(before.steals),
            suspensions: after.suspensions.saturating_sub(before.suspensions),
        }
    }
}

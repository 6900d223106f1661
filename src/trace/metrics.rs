//! Statistics for exporters: the feature `metrics`.
//!
//! The crate of that name is a facade as `log` is one: libraries name figures, and the program installs a recorder that hands them to Prometheus or
//! whatever it uses. Here nothing is counted twice: the workers count as always, for themselves, and whoever publishes adds up.

use super::stats::Stats;
use metrics::{Label, SharedString, Unit, counter, gauge};

/// Name, unit and meaning of all counters and gauges.
const COUNTERS: [(&str, Unit, &str); 8] = [
    ("ramie_jobs_submitted_total", Unit::Count, "Jobs submitted"),
    ("ramie_jobs_total", Unit::Count, "Jobs ended: run, cancelled or abandoned"),
    ("ramie_background_jobs_total", Unit::Count, "Jobs ended by the workers of Background jobs"),
    ("ramie_steals_total", Unit::Count, "Jobs, halves of joins and parts of loops taken from another worker"),
    ("ramie_suspensions_total", Unit::Count, "Times a fiber suspended, by what for"),
    ("ramie_resumes_total", Unit::Count, "Switches from a worker's root to a fiber"),
    ("ramie_wakes_total", Unit::Count, "Workers woken to search for work"),
    ("ramie_parks_total", Unit::Count, "Times a worker went to sleep"),
];
const GAUGES: [(&str, Unit, &str); 10] = [
    ("ramie_jobs_unstarted", Unit::Count, "Jobs submitted that no worker has begun"),
    ("ramie_queue_depth", Unit::Count, "What a worker's queues hold that another could take"),
    ("ramie_worker_busy_seconds", Unit::Seconds, "How long a worker has had something to do"),
    ("ramie_fibers", Unit::Count, "Fibers that exist, idle ones included"),
    ("ramie_fibers_max", Unit::Count, "The most fibers that existed at once"),
    ("ramie_job_blocks", Unit::Count, "Blocks for jobs that the process has made"),
    ("ramie_pooled_bytes", Unit::Bytes, "What the process keeps for jobs, counters, waiters and fibers"),
    ("ramie_frame_bytes", Unit::Bytes, "What the frame arenas of the process keep"),
    ("ramie_stacks", Unit::Count, "Stacks of the process, by size"),
    ("ramie_stack_used_bytes_max", Unit::Bytes, "The most that a stack was used for, by size"),
];

impl Stats {
    /// Hands the figures to the recorder of the crate [`metrics`] (0.24) that the program has installed: counters whose names end in `_total`, and
    /// gauges, all with the label `system`, which is `name`. Does nothing without a recorder. Blocks, pools, frames and stacks are those of the process, whichever system
    /// publishes them.
    ///
    /// For whoever exports: once before each scrape, or every second. Each call costs some microseconds. Needs the feature `metrics`.
    ///
    /// ```
    /// let system = ramie::JobSystem::builder().workers(2).build()?;
    /// ramie::Stats::describe();
    /// system.run(|| ());
    /// system.stats().publish("main");
    /// # Ok::<(), ramie::BuildError>(())
    /// ```
    pub fn publish(&self, name: impl Into<SharedString>) {
        let name = name.into();
        let with = |more: Option<(&'static str, String)>| -> Vec<Label> {
            let system = Label::new("system", name.clone());
            std::iter::once(system).chain(more.map(|(key, value)| Label::new(key, value))).collect()
        };
        let of_all = [
            ("ramie_jobs_submitted_total", self.submitted),
            ("ramie_jobs_total", self.jobs),
            ("ramie_background_jobs_total", self.background.jobs),
            ("ramie_resumes_total", self.resumes),
            ("ramie_wakes_total", self.wakes),
            ("ramie_parks_total", self.parks),
        ];
        for (counted, value) in of_all {
            counter!(counted, with(None)).absolute(value);
        }
        let steals = self.steals_by_distance;
        for (distance, count) in [
            ("core", steals.core),
            ("cache", steals.cache),
            ("node", steals.node),
            ("far", steals.far),
            ("unknown", steals.unknown),
        ] {
            counter!("ramie_steals_total", with(Some(("distance", distance.into())))).absolute(count);
        }
        for (reason, count) in self.suspensions_by_reason.iter() {
            counter!("ramie_suspensions_total", with(Some(("reason", reason.into())))).absolute(count);
        }
        for (measured, value) in [
            ("ramie_jobs_unstarted", self.unstarted),
            ("ramie_fibers", self.fibers),
            ("ramie_fibers_max", self.fibers_max),
            ("ramie_job_blocks", self.job_blocks),
            ("ramie_pooled_bytes", self.pooled_bytes),
            ("ramie_frame_bytes", self.frame_bytes),
        ] {
            gauge!(measured, with(None)).set(value as f64);
        }
        for (worker, depth) in self.queue_depths.iter().enumerate() {
            gauge!("ramie_queue_depth", with(Some(("worker", worker.to_string())))).set(*depth as f64);
        }
        // Those of Background jobs come last, as their queues do.
        for (worker, busy) in self.busy.iter().chain(&self.background.busy).enumerate() {
            gauge!("ramie_worker_busy_seconds", with(Some(("worker", worker.to_string()))))
                .set(busy.as_secs_f64());
        }
        for stacks in &self.stacks {
            let size = || Some(("stack_bytes", stacks.stack_bytes.to_string()));
            gauge!("ramie_stacks", with(size())).set(stacks.count as f64);
            gauge!("ramie_stack_used_bytes_max", with(size())).set(stacks.used_bytes_max as f64);
        }
    }

    /// Tells the recorder of the crate [`metrics`] the units and meanings of what [`publish`](Self::publish) hands to it. Called once, after it was
    /// installed. Needs the feature `metrics`.
    pub fn describe() {
        for (name, unit, meaning) in COUNTERS {
            metrics::describe_counter!(name, unit, meaning);
        }
        for (name, unit, meaning) in GAUGES {
            metrics::describe_gauge!(name, unit, meaning);
        }
    }
}

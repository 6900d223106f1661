//! The figures that people ask for first.

use super::model::{Finish, Idle, Model};
use crate::trace::recording::ThreadKind;
use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

/// How many jobs and reasons are listed.
const LISTED: usize = 10;

/// What took how long; made by [`Timeline::summary`](super::Timeline::summary), and printed by its `Display`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Summary {
    /// How long was recorded.
    pub duration: Duration,
    /// Events recorded.
    pub events: u64,
    /// Events that were overwritten by newer ones.
    pub lost: u64,
    /// Workers, without those for Background jobs.
    pub workers: usize,
    /// Jobs that ended.
    pub jobs: u64,
    /// Jobs, halves of joins and parts of loops that were stolen.
    pub steals: u64,
    /// How many workers ran jobs at a time, on average.
    pub parallelism: f64,
    /// For each number of workers, from none to all of them, for which part of the time so many ran jobs.
    pub running: Vec<f64>,
    /// The jobs that took longest, by the place where they were spawned: those with the most own time first.
    pub top_jobs: Vec<JobTimes>,
    /// What jobs waited for, the longest first.
    pub waits: Vec<WaitTimes>,
    /// For how long workers ran nothing, by reason.
    pub idle: Vec<(&'static str, Duration)>,
    /// The chain of causes that ended last: how long its jobs ran.
    pub critical_path: Duration,
    /// How long what was queued or woken on it took to run.
    pub critical_latency: Duration,
    /// Frames: how many, the median of their times, their 99th percentile and the longest.
    pub frames: Option<FrameTimes>,
}

/// Of all jobs that were spawned at one place.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct JobTimes {
    /// Name and place.
    pub job: String,
    /// How many have ended.
    pub count: u64,
    /// From start to end, waits included.
    pub total: Duration,
    /// Running.
    pub own: Duration,
    /// The longest, waits included.
    pub longest: Duration,
}

/// Of all waits for one thing.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct WaitTimes {
    /// For what and where.
    pub wait: String,
    /// How many have ended.
    pub count: u64,
    /// All together.
    pub total: Duration,
}

/// Times between frame marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FrameTimes {
    /// How many frames have begun and ended.
    pub count: usize,
    /// Half of them took no longer.
    pub p50: Duration,
    /// 99 of 100 took no longer.
    pub p99: Duration,
    /// The longest.
    pub longest: Duration,
}

fn ns(ns: f64) -> Duration {
    Duration::from_nanos(ns.max(0.0) as u64)
}

impl FrameTimes {
    fn of(model: &Model) -> Option<Self> {
        let mut times: Vec<f64> = model.frames.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        times.sort_by(f64::total_cmp);
        // The nearest rank.
        let at = |part: f64| times.get((times.len() as f64 * part).ceil() as usize - 1).copied();
        let longest = ns(*times.last()?);
        Some(Self { count: times.len(), p50: ns(at(0.5)?), p99: ns(at(0.99)?), longest })
    }
}

impl Model {
    /// For each bin how many workers ran jobs, on average.
    pub(super) fn utilisation(&self, bins: usize, bin: f64) -> Vec<f64> {
        let mut busy = vec![0.0; bins];
        for run in self
            .runs
            .iter()
            .filter(|run| matches!(self.tracks[run.track as usize].kind, ThreadKind::Worker(..)))
        {
            let bin_of = |at: f64| ((at / bin) as usize).min(bins - 1);
            let (first, last) = (bin_of(run.start), bin_of(run.end));
            for (busy, index) in busy[first..=last].iter_mut().zip(first..) {
                let (begin, end) = (index as f64 * bin, (index + 1) as f64 * bin);
                *busy += ((run.end.min(end) - run.start.max(begin)) / bin).max(0.0);
            }
        }
        busy
    }

    /// For which part of the time none, one, two ... workers ran jobs.
    fn running(&self) -> Vec<f64> {
        let workers = self.worker_count();
        let runs = self
            .runs
            .iter()
            .filter(|run| matches!(self.tracks[run.track as usize].kind, ThreadKind::Worker(..)));
        let mut edges: Vec<(f64, i32)> = runs.flat_map(|run| [(run.start, 1), (run.end, -1)]).collect();
        edges.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let (mut running, mut since, mut now) = (vec![0.0; workers + 1], 0.0, 0_i32);
        for (at, change) in edges.into_iter().chain([(self.duration, 0)]) {
            running[(now.max(0) as usize).min(workers)] += (at - since) / self.duration.max(1.0);
            (since, now) = (at, now + change);
        }
        running
    }

    fn top_jobs(&self) -> Vec<JobTimes> {
        let mut by_site: HashMap<u32, (u64, f64, f64, f64)> = HashMap::new();
        for job in &self.jobs {
            let times = by_site.entry(job.site).or_default();
            let total = job.end - job.start;
            *times = (times.0 + 1, times.1 + total, times.2 + job.own, times.3.max(total));
        }
        let mut jobs: Vec<JobTimes> = by_site
            .into_iter()
            .map(|(site, (count, total, own, longest))| JobTimes {
                job: self.site_text(site),
                count,
                total: ns(total),
                own: ns(own),
                longest: ns(longest),
            })
            .collect();
        jobs.sort_by(|a, b| b.own.cmp(&a.own).then_with(|| a.job.cmp(&b.job)));
        jobs.truncate(LISTED);
        jobs
    }

    fn top_waits(&self, names: &[String]) -> Vec<WaitTimes> {
        let mut by_place: HashMap<(u8, u32), (u64, f64)> = HashMap::new();
        for wait in &self.waits {
            let times = by_place.entry((wait.kind, wait.place)).or_default();
            *times = (times.0 + 1, times.1 + wait.for_ns);
        }
        let mut waits: Vec<WaitTimes> = by_place
            .into_iter()
            .map(|((kind, place), (count, total))| {
                let kind = names.get(usize::from(kind)).map_or("something", String::as_str);
                let place =
                    self.places.get(place as usize).map_or(String::new(), |place| format!(" at {place}"));
                WaitTimes { wait: format!("{kind}{place}"), count, total: ns(total) }
            })
            .collect();
        waits.sort_by(|a, b| b.total.cmp(&a.total).then_with(|| a.wait.cmp(&b.wait)));
        waits.truncate(LISTED);
        waits
    }
}

impl Summary {
    pub(super) fn of(model: &Model, waits: &[String], events: u64, lost: u64) -> Self {
        let running = model.running();
        let idle = [Idle::Searching, Idle::NoWork, Idle::Queued, Idle::AllWait].map(|cause| {
            let gaps = model.gaps.iter().filter(|gap| gap.cause == cause);
            let workers =
                gaps.filter(|gap| matches!(model.tracks[gap.track as usize].kind, ThreadKind::Worker(..)));
            (Idle::NAMES[cause as usize], ns(workers.map(|gap| gap.end - gap.start).sum()))
        });
        Self {
            duration: ns(model.duration),
            events,
            lost,
            workers: model.worker_count(),
            jobs: model
                .runs
                .iter()
                .filter(|run| matches!(run.finish, Finish::Ended | Finish::Panicked))
                .count() as u64,
            steals: model.steals,
            parallelism: running.iter().enumerate().map(|(count, part)| count as f64 * part).sum(),
            running,
            top_jobs: model.top_jobs(),
            waits: model.top_waits(waits),
            idle: idle.to_vec(),
            critical_path: ns(model.critical_run),
            critical_latency: ns(model.critical_latency),
            frames: FrameTimes::of(model),
        }
    }

    /// For the page.
    pub(super) fn rows(&self) -> Vec<(String, String)> {
        let mut rows = vec![
            ("recorded", format!("{:.2?}", self.duration)),
            ("events", self.events.to_string()),
            ("workers", self.workers.to_string()),
            ("jobs", self.jobs.to_string()),
            ("steals", self.steals.to_string()),
            ("parallelism", format!("{:.2} of {}", self.parallelism, self.workers)),
            ("critical path", format!("{:.2?}", self.critical_path)),
            ("its latencies", format!("{:.2?}", self.critical_latency)),
        ];
        if let Some(frames) = self.frames {
            rows.push(("frames", frames.count.to_string()));
            rows.push(("frame p50", format!("{:.2?}", frames.p50)));
            rows.push(("frame p99", format!("{:.2?}", frames.p99)));
            rows.push(("frame max", format!("{:.2?}", frames.longest)));
        }
        rows.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in self.rows() {
            writeln!(f, "{name:14} {value}")?;
        }
        if self.lost > 0 {
            writeln!(f, "lost           {} events were overwritten: what is below is incomplete", self.lost)?;
        }
        writeln!(f, "\nworkers that ran jobs at a time:")?;
        for (count, part) in self.running.iter().enumerate() {
            writeln!(f, "  {count:3} {:5.1} %", part * 100.0)?;
        }
        writeln!(f, "\nworkers ran nothing:")?;
        for (cause, time) in &self.idle {
            writeln!(f, "  {:>10} {cause}", format!("{time:.2?}"))?;
        }
        writeln!(f, "\n     count        own      total    longest  job")?;
        for job in &self.top_jobs {
            let times = [job.own, job.total, job.longest].map(|time| format!("{time:.2?}"));
            writeln!(f, "{:10} {:>10} {:>10} {:>10}  {}", job.count, times[0], times[1], times[2], job.job)?;
        }
        writeln!(f, "\n     count      total  wait for")?;
        for wait in &self.waits {
            writeln!(f, "{:10} {:>10}  {}", wait.count, format!("{:.2?}", wait.total), wait.wait)?;
        }
        Ok(())
    }
}

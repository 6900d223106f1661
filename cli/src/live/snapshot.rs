//! What a system does, in plain numbers made from two of its statistics.

use std::time::Duration;

use ramie::Stats;

/// So many reasons for suspensions are shown.
const REASONS: usize = 5;

/// What a system has now, and what it did between two moments.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Snapshot {
    /// Those for Background jobs come last.
    pub(super) workers: Vec<Worker>,
    /// How much of their time all workers together had work, those for Background jobs left out: 0 to 1.
    pub(super) busy: f64,
    /// Jobs submitted and not begun.
    pub(super) unstarted: u64,
    pub(super) fibers: u64,
    pub(super) fibers_max: u64,
    pub(super) stacks: u64,
    /// The most that any stack was used.
    pub(super) stack_used_bytes: u64,
    pub(super) frame_bytes: u64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Worker {
    pub(super) name: String,
    /// How much of the time it had work: 0 to 1.
    pub(super) busy: f64,
    pub(super) queued: usize,
}

impl Snapshot {
    pub(super) fn between(before: &Stats, after: &Stats) -> Self {
        let elapsed = after.elapsed.saturating_sub(before.elapsed);
        let shares = |before: &[Duration], after: &[Duration]| -> Vec<f64> {
            before.iter().zip(after).map(|(&before, &after)| share(before, after, elapsed)).collect()
        };
        let busy = shares(&before.busy, &after.busy);
        let background = shares(&before.background.busy, &after.background.busy);
        let named = (busy.iter().enumerate().map(|(index, &busy)| (index.to_string(), busy)))
            .chain(background.iter().enumerate().map(|(index, &busy)| (format!("bg {index}"), busy)));
        Self {
            workers: (named.zip(&after.queue_depths))
                .map(|((name, busy), &queued)| Worker { name, busy, queued })
                .collect(),
            busy: busy.iter().sum::<f64>() / busy.len().max(1) as f64,
            unstarted: after.unstarted,
            fibers: after.fibers,
            fibers_max: after.fibers_max,
            stacks: after.stacks.iter().map(|stacks| stacks.count as u64).sum(),
            stack_used_bytes: after
                .stacks
                .iter()
                .map(|stacks| stacks.used_bytes_max as u64)
                .max()
                .unwrap_or(0),
            frame_bytes: after.frame_bytes,
        }
    }
}

/// What happened, each per second. Reasons are those that there were most of since the system was built, so that
/// they keep their places.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rates {
    pub(super) jobs: u64,
    pub(super) steals: u64,
    pub(super) steals_by_distance: Vec<(&'static str, u64)>,
    pub(super) suspensions: u64,
    pub(super) suspensions_by_reason: Vec<(&'static str, u64)>,
    pub(super) wakes: u64,
    pub(super) parks: u64,
}

impl Rates {
    pub(super) fn between(before: &Stats, after: &Stats) -> Self {
        let seconds = after.elapsed.saturating_sub(before.elapsed).as_secs_f64().max(1e-9);
        let rate = |count: fn(&Stats) -> u64| per_second(count(before), count(after), seconds);
        let mut reasons: Vec<_> =
            before.suspensions_by_reason.iter().zip(after.suspensions_by_reason.iter()).collect();
        reasons.retain(|(_, (_, after))| *after > 0);
        reasons.sort_by_key(|(_, (_, after))| std::cmp::Reverse(*after));
        reasons.truncate(REASONS);
        Self {
            jobs: rate(|stats| stats.jobs),
            steals: rate(|stats| stats.steals),
            steals_by_distance: vec![
                ("same core", rate(|stats| stats.steals_by_distance.core)),
                ("same cache", rate(|stats| stats.steals_by_distance.cache)),
                ("same node", rate(|stats| stats.steals_by_distance.node)),
                ("far", rate(|stats| stats.steals_by_distance.far)),
                ("not pinned", rate(|stats| stats.steals_by_distance.unknown)),
            ],
            suspensions: rate(|stats| stats.suspensions),
            suspensions_by_reason: (reasons.into_iter())
                .map(|((name, before), (_, after))| (name, per_second(before, after, seconds)))
                .collect(),
            wakes: rate(|stats| stats.wakes),
            parks: rate(|stats| stats.parks),
        }
    }
}

/// Readings are approximate: without the limit a busy worker could show a little over 1.
fn share(before: Duration, after: Duration, elapsed: Duration) -> f64 {
    (after.saturating_sub(before).as_secs_f64() / elapsed.as_secs_f64().max(1e-9)).min(1.0)
}

fn per_second(before: u64, after: u64, seconds: f64) -> u64 {
    (after.saturating_sub(before) as f64 / seconds).round() as u64
}

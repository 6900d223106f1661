//! What the view remembers: the last statistics for bars, those of a second for rates, and a minute of how busy the
//! workers were.

use std::collections::VecDeque;
use std::time::Duration;

use ramie::Stats;

use super::snapshot::{Rates, Snapshot};
use super::waits::Wait;

/// Rates are over this time: over less they would change faster than they can be read.
const RATES: Duration = Duration::from_secs(1);
/// The time of one column of the last minute.
const COLUMN: Duration = Duration::from_secs(1);
/// Columns of the last minute.
pub(super) const COLUMNS: usize = 60;

/// All that is drawn.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    pub(super) frames: u32,
    pub(super) frames_total: u32,
    pub(super) frames_per_second: f64,
    /// Since the view was opened.
    pub(super) elapsed: Duration,
    pub(super) paused: bool,
    /// Whether the user has ended the demonstration.
    pub(super) ends: bool,
    /// What has changed since the last redraw.
    pub(super) now: Snapshot,
    /// What has changed in the last second.
    pub(super) rates: Rates,
    /// How busy the workers were in each second of the last minute: percent. The newest is the last, and goes on.
    pub(super) minute: Vec<u64>,
    pub(super) waits: Vec<Wait>,
}

/// Statistics, and how many frames were done when they were taken.
#[derive(Debug)]
struct Moment {
    stats: Stats,
    frames: u32,
}

/// Statistics of the past.
#[derive(Debug)]
pub(super) struct History {
    began: Duration,
    /// What lies back no longer than rates go, and one more; never empty.
    recent: VecDeque<Moment>,
    now: Snapshot,
    /// When the column began that goes on.
    column: Stats,
    /// Those that are over.
    columns: VecDeque<u64>,
}

impl History {
    pub(super) fn new(stats: Stats) -> Self {
        Self {
            began: stats.elapsed,
            column: stats.clone(),
            now: Snapshot::between(&stats, &stats),
            recent: VecDeque::from([Moment { stats, frames: 0 }]),
            columns: VecDeque::new(),
        }
    }

    /// Adds what there is now.
    pub(super) fn add(&mut self, stats: Stats, frames: u32) {
        self.now = Snapshot::between(&self.last().stats, &stats);
        let is_old = |moment: &Moment| stats.elapsed.saturating_sub(moment.stats.elapsed) >= RATES;
        while self.recent.get(1).is_some_and(is_old) {
            self.recent.pop_front();
        }
        if stats.elapsed.saturating_sub(self.column.elapsed) >= COLUMN {
            self.columns.push_back(percent(&self.column, &stats));
            self.columns.drain(..self.columns.len().saturating_sub(COLUMNS - 1));
            self.column = stats.clone();
        }
        self.recent.push_back(Moment { stats, frames });
    }

    pub(super) fn view(&self, frames_total: u32, waits: Vec<Wait>) -> View {
        let (first, last) = (&self.recent[0], self.last());
        let elapsed = last.stats.elapsed.saturating_sub(first.stats.elapsed);
        let mut minute: Vec<u64> = self.columns.iter().copied().collect();
        if last.stats.elapsed > self.column.elapsed {
            minute.push(percent(&self.column, &last.stats));
        }
        View {
            frames: last.frames,
            frames_total,
            frames_per_second: f64::from(last.frames - first.frames) / elapsed.as_secs_f64().max(1e-9),
            elapsed: last.stats.elapsed.saturating_sub(self.began),
            paused: false,
            ends: false,
            now: self.now.clone(),
            rates: Rates::between(&first.stats, &last.stats),
            minute,
            waits,
        }
    }

    fn last(&self) -> &Moment {
        &self.recent[self.recent.len() - 1]
    }
}

fn percent(before: &Stats, after: &Stats) -> u64 {
    (100.0 * Snapshot::between(before, after).busy).round() as u64
}

#[cfg(test)]
mod tests;

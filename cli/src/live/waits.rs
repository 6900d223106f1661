//! What fibers wait for, grouped as in the text of a dump: those in the same place together.

use std::time::Duration;

use ramie::{FiberActivity, FiberDump, FiberInfo};

/// Fibers whose jobs were spawned in the same place, and that wait in the same place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wait {
    pub(super) count: usize,
    pub(super) oldest: Duration,
    /// The name of their jobs, if they have one.
    pub(super) job: &'static str,
    /// What one of them waits for.
    pub(super) waits_for: String,
    /// Where they wait: file and line.
    pub(super) place: String,
}

/// The groups, the smallest first: what is rare tells most.
pub(super) fn of(dump: &FiberDump) -> Vec<Wait> {
    let groups = dump.by_place().into_iter().filter(|group| group[0].activity == FiberActivity::Waiting);
    let mut waits: Vec<Wait> = groups.map(|group| Wait::of(&group)).collect();
    // So that those of the same size do not change places from one dump to the next.
    waits.sort_by(|a, b| (a.count, a.job, &a.place).cmp(&(b.count, b.job, &b.place)));
    waits
}

impl Wait {
    fn of(group: &[&FiberInfo]) -> Self {
        let first = group[0];
        let place = first.waits_at.map_or(String::new(), |at| {
            let file = at.file().rsplit(['/', '\\']).next().unwrap_or_default();
            format!("{file}:{}", at.line())
        });
        Self {
            count: group.len(),
            oldest: group.iter().filter_map(|fiber| fiber.age).max().unwrap_or_default(),
            job: first.job_name.unwrap_or_default(),
            waits_for: first.waits_for.clone(),
            place,
        }
    }
}

#[cfg(test)]
mod tests;

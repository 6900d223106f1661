//! What fibers wait for, grouped as in the text of a dump: those in the same place together.

use std::collections::HashMap;
use std::time::Duration;

use ramie::{FiberActivity, FiberDump};

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
    let mut groups = HashMap::new();
    for fiber in dump.fibers.iter().filter(|fiber| fiber.activity == FiberActivity::Waiting) {
        let place = fiber.waits_at.map_or(String::new(), |at| {
            let file = at.file().rsplit(['/', '\\']).next().unwrap_or_default();
            format!("{file}:{}", at.line())
        });
        let group: &mut Wait =
            groups.entry((fiber.job_name, fiber.spawned_at, fiber.waits_at)).or_insert_with(|| Wait {
                job: fiber.job_name.unwrap_or_default(),
                waits_for: fiber.waits_for.clone(),
                place,
                ..Wait::default()
            });
        group.count += 1;
        group.oldest = group.oldest.max(fiber.age.unwrap_or_default());
    }
    let mut groups: Vec<Wait> = groups.into_values().collect();
    groups.sort_by(|a, b| (a.count, a.job, &a.place).cmp(&(b.count, b.job, &b.place)));
    groups
}

#[cfg(test)]
mod tests;

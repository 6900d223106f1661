//! What the process's control groups allow: which CPUs, and how much of their time. Both versions of cgroups, at their usual places.
//!
//! A group is limited by all that it is in, so limits are looked for from the process's own group up to the root of the mount.
//! In a container the path in `/proc/self/cgroup` may be the host's, and not be there: then what counts is the root of what is
//! mounted, which is the container's.

use super::cpus::{CpuId, parse_ranges};
use super::tree::Tree;

const MOUNT: &str = "sys/fs/cgroup";

/// A control group's folder, and those above it, the innermost first.
fn folders(mount: &str, path: &str) -> Vec<String> {
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
    if names.contains(&"..") {
        // The group lies outside of what this process can see.
        return vec![mount.to_owned()];
    }
    let depth = names.len();
    (0..=depth).rev().map(|count| [&[mount], &names[..count]].concat().join("/")).collect()
}

/// The process's groups: for each hierarchy its controllers, empty for version 2, and the group's path.
fn groups(tree: &Tree<'_>) -> Vec<(Vec<String>, String)> {
    let text = tree.text("proc/self/cgroup").unwrap_or_default();
    let group = |line: &str| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let controllers = controllers.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Some((controllers, path.to_owned()))
    };
    text.lines().filter_map(group).collect()
}

/// The folders that may limit what this controller is for, each with its hierarchy's version.
fn limits(tree: &Tree<'_>, controller: &str) -> Vec<(u8, Vec<String>)> {
    let mut found = Vec::new();
    for (controllers, path) in groups(tree) {
        if controllers.is_empty() {
            // Where both versions are mounted, version 2 is in a folder of its own, and has no controllers as a rule.
            found.extend([MOUNT, "sys/fs/cgroup/unified"].map(|mount| (2, folders(mount, &path))));
        } else if controllers.iter().any(|name| name == controller) {
            let together = format!("{MOUNT}/{}", controllers.join(","));
            found
                .extend([format!("{MOUNT}/{controller}"), together].map(|mount| (1, folders(&mount, &path))));
        }
    }
    found
}

/// How many CPUs' worth of time the process may take, if that is limited.
pub(super) fn quota(tree: &Tree<'_>) -> Option<f64> {
    let mut least: Option<f64> = None;
    for (version, folders) in limits(tree, "cpu") {
        for folder in folders {
            let quota = if version == 2 { quota_v2(tree, &folder) } else { quota_v1(tree, &folder) };
            least = match (least, quota) {
                (Some(least), Some(quota)) => Some(least.min(quota)),
                (least, quota) => least.or(quota),
            };
        }
    }
    least
}

/// `max 100000`, or `150000 100000`: microseconds in each period of so many.
fn quota_v2(tree: &Tree<'_>, folder: &str) -> Option<f64> {
    let text = tree.text(&format!("{folder}/cpu.max"))?;
    let mut words = text.split_whitespace();
    let quota = words.next()?;
    if quota == "max" {
        return None;
    }
    let share = ratio(quota.parse().ok(), words.next().map_or(Some(100_000), |period| period.parse().ok()));
    if share.is_none() {
        tree.note(format!("/{folder}/cpu.max makes no sense: no limit is assumed"));
    }
    share
}

fn quota_v1(tree: &Tree<'_>, folder: &str) -> Option<f64> {
    let text = tree.text(&format!("{folder}/cpu.cfs_quota_us"))?;
    let quota = text.trim().parse::<i64>().ok();
    if quota == Some(-1) {
        return None;
    }
    let period = tree.value::<i64>(&format!("{folder}/cpu.cfs_period_us"));
    let share = ratio(quota, period);
    if share.is_none() {
        tree.note(format!("/{folder}/cpu.cfs_quota_us makes no sense: no limit is assumed"));
    }
    share
}

fn ratio(quota: Option<i64>, period: Option<i64>) -> Option<f64> {
    let (quota, period) = (quota?, period?);
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}

/// The CPUs that the process's groups leave it, if they say so.
pub(super) fn cpuset(tree: &Tree<'_>) -> Option<Vec<CpuId>> {
    for (version, folders) in limits(tree, "cpuset") {
        let names: &[&str] =
            if version == 2 { &["cpuset.cpus.effective"] } else { &["cpuset.effective_cpus", "cpuset.cpus"] };
        for folder in folders {
            for name in names {
                let Some(text) = tree.text(&format!("{folder}/{name}")) else { continue };
                match parse_ranges(&text) {
                    // The innermost one that has a list says what is left of those around it.
                    Some(cpus) if !cpus.is_empty() => return Some(cpus),
                    Some(_) => {}
                    None => tree.note(format!("/{folder}/{name} makes no sense: it is ignored")),
                }
            }
        }
    }
    None
}

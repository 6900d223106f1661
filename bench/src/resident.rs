//! What this process has in memory.

use std::fs;

/// Resident memory and page tables in KiB; not a number where the system does not tell.
pub(crate) fn kib() -> f64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let value = |key| {
        let line = text.lines().find(|line| line.starts_with(key))?;
        line.split_whitespace().nth(1)?.parse::<f64>().ok()
    };
    value("VmRSS:").unwrap_or(f64::NAN) + value("VmPTE:").unwrap_or(f64::NAN)
}

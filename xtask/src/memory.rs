//! How much memory running tests have: the peaks of their resident sets, as `/proc` has them.

use crate::HEATED;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

/// The peak of each suite, in KiB, as far as somebody has looked. Empty where there is no `/proc`.
#[derive(Debug, Default)]
pub(crate) struct Peaks(BTreeMap<String, u64>);

impl Peaks {
    /// Looks at the suites that run now, of this workspace's target folder alone.
    pub(crate) fn look(&mut self) {
        let own = std::env::current_exe().ok();
        // The task runner lies in `target/<profile>`.
        let Some(target) = own.as_deref().and_then(Path::parent).and_then(Path::parent) else { return };
        for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Ok(program) = fs::read_link(process.path().join("exe")) else { continue };
            let Some(name) = program.file_name().and_then(|name| name.to_str()) else { continue };
            let is_heated = |suite: &&str| match suite.strip_suffix('*') {
                Some(prefix) => name.starts_with(prefix),
                None => name.rsplit_once('-').is_some_and(|(test, _)| test == *suite),
            };
            if !program.starts_with(target) || !HEATED.iter().any(is_heated) {
                continue;
            }
            let status = fs::read_to_string(process.path().join("status")).unwrap_or_default();
            let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next());
            let Some(kib) = peak.and_then(|kib| kib.parse::<u64>().ok()) else { continue };
            // The name ends with a hash.
            let test = name.rsplit_once('-').map_or(name, |(test, _)| test);
            let known = self.0.entry(test.to_owned()).or_default();
            *known = kib.max(*known);
        }
    }
}

impl fmt::Display for Peaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("peaks of memory:")?;
        for (test, kib) in &self.0 {
            write!(f, " {test} {} MiB", kib.div_ceil(1024))?;
        }
        if self.0.is_empty() { f.write_str(" unknown") } else { Ok(()) }
    }
}

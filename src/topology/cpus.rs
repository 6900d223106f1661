//! Lists of CPUs, as the kernel writes them and as people read them: `0-3,8`.

use std::fmt;

/// A logical CPU, by the number that the operating system gives it.
///
/// # Examples
///
/// ```
/// use ramie::CpuId;
///
/// assert_eq!(CpuId::from(3), CpuId(3));
/// assert_eq!(CpuId(3).to_string(), "3");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuId(pub u32);

impl From<u32> for CpuId {
    fn from(number: u32) -> Self {
        Self(number)
    }
}

impl fmt::Display for CpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The greatest number of a CPU that is believed: eight times what Linux supports. A list that says otherwise is garbled, and
/// would take any amount of memory.
pub(crate) const CPU_MAX: u32 = 65_535;

/// Ascending CPUs as people write them: `0-3,8`.
pub(crate) fn ranges(cpus: &[CpuId]) -> String {
    let runs = cpus.chunk_by(|a, b| a.0.checked_add(1) == Some(b.0)).map(|run| match *run {
        [first, .., last] => format!("{first}-{last}"),
        [only] => only.to_string(),
        [] => String::new(),
    });
    runs.collect::<Vec<_>>().join(",")
}

/// The CPUs of such a list, ascending and each once; `None` if it is none. Nothing at all is an empty list.
///
/// The kernel's own form with a stride, `0-6:2/4`, is not written by anything that is read here.
pub(crate) fn parse_ranges(text: &str) -> Option<Vec<CpuId>> {
    let text = text.trim();
    if text.is_empty() {
        return Some(Vec::new());
    }
    let number = |text: &str| text.trim().parse::<u32>().ok().filter(|number| *number <= CPU_MAX);
    let mut cpus = Vec::new();
    for run in text.split(',') {
        let (first, last) = match run.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(run)?, number(run)?),
        };
        if first > last {
            return None;
        }
        cpus.extend((first..=last).map(CpuId));
    }
    sort(&mut cpus);
    Some(cpus)
}

/// Makes them ascend, each once.
pub(crate) fn sort(cpus: &mut Vec<CpuId>) {
    cpus.sort_unstable();
    cpus.dedup();
}

/// Those that are in both; both ascend.
pub(crate) fn common(a: &[CpuId], b: &[CpuId]) -> Vec<CpuId> {
    a.iter().copied().filter(|cpu| b.binary_search(cpu).is_ok()).collect()
}

#[cfg(test)]
mod tests;

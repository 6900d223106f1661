//! Which CPU each worker is bound to.
//!
//! A placement is a pure function of the CPUs that may be used, the strategy and the number of workers;
//! [`plan`] asks the operating system for the first and calls it.

use crate::error::BuildError;
use crate::sys;
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

/// Which CPU each worker is bound to; set by [`Builder::pinning`](crate::Builder::pinning).
///
/// The CPUs that may be used are those in the affinity mask of the thread that builds the system. A worker binds its
/// thread before anything else runs on it, and never changes that again. Threads that a job starts inherit the one CPU of
/// its worker, and so does a system that is built inside such a job: it has one usable CPU.
///
/// Pinning is available on Linux. Elsewhere everything but [`None`](Self::None) is refused, unless
/// [`Builder::pinning_best_effort`](crate::Builder::pinning_best_effort) is set.
///
/// # Examples
///
/// ```
/// use ramie::{JobSystem, Pinning};
///
/// let system = JobSystem::builder().pinning(Pinning::Linear).pinning_best_effort().build()?;
/// assert_eq!(system.run(|| 6 * 7), 42);
/// # Ok::<(), ramie::BuildError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pinning {
    /// The operating system moves workers as it likes, within the affinity mask. The default.
    #[default]
    None,
    /// Worker i runs on the i-th CPU that may be used, in ascending order. There may not be more workers than such CPUs.
    Linear,
    /// Worker i runs on the i-th of these CPUs. There must be at least one for each worker, and all of them, those that no
    /// worker takes included, must be CPUs that may be used. Workers whose entries are the same share that CPU.
    Custom(Vec<CpuId>),
}

impl Pinning {
    /// The CPU of each worker, if all can be pinned. `usable` ascends.
    fn place(&self, usable: &[CpuId], workers: usize) -> Result<Vec<Option<CpuId>>, BuildError> {
        match self {
            Self::None => {}
            Self::Linear => {
                if workers > usable.len() {
                    return Err(BuildError::TooFewCpus { workers, usable: usable.to_vec() });
                }
            }
            Self::Custom(cpus) => {
                if workers > cpus.len() {
                    return Err(BuildError::PinningTooShort { given: cpus.len(), workers });
                }
                let stranger = cpus.iter().position(|cpu| usable.binary_search(cpu).is_err());
                if let Some(index) = stranger {
                    return Err(BuildError::CpuNotUsable {
                        cpu: cpus[index],
                        index,
                        usable: usable.to_vec(),
                    });
                }
            }
        }
        Ok(self.place_what_can_be(usable, workers))
    }

    /// The CPU of each worker that can be pinned. `usable` ascends.
    fn place_what_can_be(&self, usable: &[CpuId], workers: usize) -> Vec<Option<CpuId>> {
        let cpu_of = |worker: usize| match self {
            Self::None => None,
            Self::Linear => usable.get(worker).copied(),
            Self::Custom(cpus) => cpus.get(worker).copied().filter(|cpu| usable.binary_search(cpu).is_ok()),
        };
        (0..workers).map(cpu_of).collect()
    }
}

/// The CPU of each worker of a system that the calling thread builds.
pub(crate) fn plan(
    pinning: &Pinning,
    workers: usize,
    best_effort: bool,
) -> Result<Vec<Option<CpuId>>, BuildError> {
    if *pinning == Pinning::None {
        return Ok(vec![None; workers]);
    }
    let usable: Vec<CpuId> = match sys::usable_cpus() {
        Ok(cpus) => cpus.into_iter().map(CpuId).collect(),
        Err(_) if best_effort => Vec::new(),
        Err(source) => return Err(BuildError::PinningUnavailable { source }),
    };
    if best_effort {
        Ok(pinning.place_what_can_be(&usable, workers))
    } else {
        pinning.place(&usable, workers)
    }
}

/// Ascending CPUs as people write them: `0-3,8`.
pub(crate) fn ranges(cpus: &[CpuId]) -> String {
    let runs = cpus.chunk_by(|a, b| a.0.checked_add(1) == Some(b.0)).map(|run| match *run {
        [first, .., last] => format!("{first}-{last}"),
        [only] => only.to_string(),
        [] => String::new(),
    });
    runs.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests;

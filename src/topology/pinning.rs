//! Which CPU each worker is bound to.
//!
//! A placement is a pure function of the CPUs that may be used, the strategy and the number of workers;
//! [`plan`] asks the operating system for the first and calls it.

use super::cpus::{CpuId, sort};
use super::model::Topology;
use crate::error::BuildError;
use crate::sys;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Mutex, PoisonError};

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
    /// Each worker has a physical core to itself, the fastest cores first. Only when there are more workers than cores, further
    /// ones take the SMT siblings. By default there are as many workers as cores.
    AvoidSmt,
    /// All workers run on CPUs that share one last-level cache ('CCD isolation'), on cores of their own first: the cache with the most
    /// cores of the fastest kind. By default there are as many workers as it has CPUs, and there may not be more.
    CacheDomain,
    /// Workers come in tiers: one for each physical core of one cache domain; one for each core of the others, the nearest first;
    /// and one for each SMT sibling. A tier sleeps as long as those below it are not busy.
    TieredSpillover,
    /// Worker i runs on the i-th of these CPUs. There must be at least one for each worker, and all of them, those that no
    /// worker takes included, must be CPUs that may be used. Workers whose entries are the same share that CPU.
    Custom(Vec<CpuId>),
}

impl Topology {
    /// The CPU of each of `workers` workers under a strategy, among the CPUs that this process may use. A pure function of the
    /// topology and the arguments.
    ///
    /// # Errors
    ///
    /// What [`Builder::build`](crate::Builder::build) would say: [`BuildError::TooFewCpus`], [`BuildError::PinningTooShort`] or
    /// [`BuildError::CpuNotUsable`].
    ///
    /// # Examples
    ///
    /// ```
    /// use ramie::{Pinning, Topology};
    ///
    /// let topology = Topology::detect();
    /// let placement = topology.place(&Pinning::AvoidSmt, 1)?;
    /// assert_eq!(placement.len(), 1);
    /// assert_eq!(topology.cpu(placement[0].unwrap()).unwrap().usable, true);
    /// # Ok::<(), ramie::BuildError>(())
    /// ```
    pub fn place(&self, pinning: &Pinning, workers: usize) -> Result<Vec<Option<CpuId>>, BuildError> {
        let usable: Vec<CpuId> = self.usable().collect();
        pinning.place(self, &usable, &usable, workers)
    }

    /// The same as far as it can be: workers for which there is no CPU are not pinned.
    pub fn place_best_effort(&self, pinning: &Pinning, workers: usize) -> Vec<Option<CpuId>> {
        let usable: Vec<CpuId> = self.usable().collect();
        pinning.place_what_can_be(self, &usable, &usable, workers)
    }
}

impl Pinning {
    /// The CPU of each worker, if all can be pinned. `usable` ascends, and so does `free`: those of them that no other pinned system
    /// has taken.
    fn place(
        &self,
        topology: &Topology,
        usable: &[CpuId],
        free: &[CpuId],
        workers: usize,
    ) -> Result<Vec<Option<CpuId>>, BuildError> {
        if let Self::Custom(cpus) = self {
            if workers > cpus.len() {
                return Err(BuildError::PinningTooShort { given: cpus.len(), workers });
            }
            if let Some(index) = cpus.iter().position(|cpu| usable.binary_search(cpu).is_err()) {
                return Err(BuildError::CpuNotUsable { cpu: cpus[index], index, usable: usable.to_vec() });
            }
        } else if *self != Self::None {
            let candidates = self.order(topology, free);
            if workers > candidates.len() {
                let mut candidates = candidates;
                sort(&mut candidates);
                return Err(BuildError::TooFewCpus { pinning: self.clone(), workers, usable: candidates });
            }
        }
        Ok(self.place_what_can_be(topology, usable, free, workers))
    }

    /// The CPU of each worker that can be pinned. `usable` and `free` as above.
    fn place_what_can_be(
        &self,
        topology: &Topology,
        usable: &[CpuId],
        free: &[CpuId],
        workers: usize,
    ) -> Vec<Option<CpuId>> {
        let order = self.order(topology, free);
        let cpu_of =
            |worker: usize| order.get(worker).copied().filter(|cpu| usable.binary_search(cpu).is_ok());
        (0..workers).map(cpu_of).collect()
    }
}

/// What was decided for a system that the calling thread builds.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) workers: usize,
    pub(crate) placement: Vec<Option<CpuId>>,
    /// How many workers each tier has; empty without [`Pinning::TieredSpillover`].
    pub(crate) tier_sizes: Vec<usize>,
    /// Read if somebody is to be pinned.
    pub(crate) topology: Option<Topology>,
    pub(crate) reservation: Reservation,
}

/// CPUs that workers of a system are pinned to, until it is gone.
#[derive(Debug, Default)]
pub(crate) struct Reservation(Vec<CpuId>);

/// How many workers of all pinned systems are on each CPU.
static TAKEN: Mutex<BTreeMap<CpuId, usize>> = Mutex::new(BTreeMap::new());

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        for cpu in &self.0 {
            if let Entry::Occupied(mut count) = taken.entry(*cpu) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
    }
}

/// The CPUs of so many Background workers: each shares one with a worker, the last ones first, because the first ones are awake most; then
/// come CPUs without a worker.
pub(crate) fn background_placement(
    placement: &[Option<CpuId>],
    usable: &[CpuId],
    count: usize,
) -> Vec<Option<CpuId>> {
    let mut order: Vec<CpuId> = Vec::new();
    for cpu in placement.iter().rev().copied().flatten().chain(usable.iter().copied()) {
        if !order.contains(&cpu) {
            order.push(cpu);
        }
    }
    (0..count).map(|index| order.get(index % order.len().max(1)).copied()).collect()
}

/// Decides how many workers a system has, if that is not `requested`, and where they are. `first_is_free` says that worker 0 is never
/// pinned.
pub(crate) fn plan(
    pinning: &Pinning,
    requested: Option<usize>,
    workers_max: usize,
    best_effort: bool,
    first_is_free: bool,
) -> Result<Plan, BuildError> {
    if *pinning == Pinning::None {
        let workers = requested.unwrap_or_else(|| super::default_workers().min(workers_max));
        return Ok(Plan {
            workers,
            placement: vec![None; workers],
            tier_sizes: Vec::new(),
            topology: None,
            reservation: Reservation::default(),
        });
    }
    let usable: Vec<CpuId> = match sys::usable_cpus() {
        Ok(cpus) => cpus.into_iter().map(CpuId).collect(),
        Err(_) if best_effort => Vec::new(),
        Err(source) => return Err(BuildError::PinningUnavailable { source }),
    };
    let topology = Topology::detect();
    // Held until the CPUs are taken, so that no other system takes the same.
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    let free: Vec<CpuId> = usable.iter().copied().filter(|cpu| !taken.contains_key(cpu)).collect();
    let workers = requested.unwrap_or_else(|| pinning.default_workers(&topology, &free).min(workers_max));
    let mut placement = if best_effort {
        pinning.place_what_can_be(&topology, &usable, &free, workers)
    } else {
        pinning.place(&topology, &usable, &free, workers)?
    };
    let tier_sizes = match pinning {
        Pinning::TieredSpillover => tier_sizes(&super::placement::tiers(&topology, &free), workers),
        _ => Vec::new(),
    };
    if first_is_free {
        placement.iter_mut().take(1).for_each(|cpu| *cpu = None);
    }
    if best_effort {
        leave_out_refused(&mut placement);
    }
    let cpus: Vec<CpuId> = placement.iter().copied().flatten().collect();
    cpus.iter().for_each(|cpu| *taken.entry(*cpu).or_default() += 1);
    Ok(Plan { workers, placement, tier_sizes, topology: Some(topology), reservation: Reservation(cpus) })
}

/// Workers whose CPU the operating system refuses, although the mask has it, are not pinned: tried out, so that what is said of the placement is
/// what it will be.
fn leave_out_refused(placement: &mut [Option<CpuId>]) {
    let mut cpus: Vec<CpuId> = placement.iter().copied().flatten().collect();
    sort(&mut cpus);
    cpus.dedup();
    let try_out = move || {
        cpus.retain(|cpu| sys::pin_this_thread(cpu.0).is_ok());
        cpus
    };
    let tried = std::thread::Builder::new().name("ramie-probe".into()).spawn(try_out);
    // Without a thread for that there will be none for workers.
    let Some(works) = tried.ok().and_then(|thread| thread.join().ok()) else { return };
    for cpu in placement.iter_mut().filter(|cpu| cpu.is_some_and(|cpu| !works.contains(&cpu))) {
        *cpu = None;
    }
}

/// How many of so many workers are in each tier. Those for which there is no CPU belong to the last.
fn tier_sizes(tiers: &[Vec<CpuId>], workers: usize) -> Vec<usize> {
    let mut left = workers;
    let take = |tier: &Vec<CpuId>| {
        let size = tier.len().min(left);
        left -= size;
        size
    };
    let mut sizes: Vec<usize> = tiers.iter().map(take).collect();
    if let Some(last) = sizes.iter_mut().rfind(|size| **size > 0) {
        *last += left;
    }
    sizes
}

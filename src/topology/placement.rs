//! Which CPUs each strategy takes, in which order. Pure functions of the topology and of what is free.

use super::cpus::CpuId;
use super::model::{Core, Topology, at_most};
use super::pinning::Pinning;

/// The tiers of [`Pinning::TieredSpillover`].
pub(crate) const TIERS: usize = 3;

/// A core's CPUs that are free, and where it is.
struct FreeCore<'a> {
    core: &'a Core,
    cpus: Vec<CpuId>,
    /// Whether another pinned system has a worker on one of its CPUs.
    is_shared: bool,
}

/// Cores with free CPUs: those that nobody else has a worker on first, of the fastest class first, and within one by their first free CPU.
fn free_cores<'a>(topology: &'a Topology, free: &[CpuId]) -> Vec<FreeCore<'a>> {
    let of_core = |core: &'a Core| {
        let is_free = |cpu: &CpuId| free.binary_search(cpu).is_ok();
        let is_taken = |cpu: &CpuId| !is_free(cpu) && topology.cpu(*cpu).is_some_and(|cpu| cpu.usable);
        FreeCore {
            core,
            cpus: core.cpus.iter().copied().filter(is_free).collect(),
            is_shared: core.cpus.iter().any(is_taken),
        }
    };
    let mut cores: Vec<_> =
        topology.cores().iter().map(of_core).filter(|core| !core.cpus.is_empty()).collect();
    cores.sort_by_key(|core| (core.is_shared, core.core.class, core.cpus[0]));
    cores
}

/// The first CPU of each core, then the second of each, and so on.
fn cores_first(cores: &[FreeCore<'_>]) -> Vec<CpuId> {
    let threads = cores.iter().map(|core| core.cpus.len()).max().unwrap_or(0);
    (0..threads)
        .flat_map(|thread| cores.iter().filter_map(move |core| core.cpus.get(thread)).copied())
        .collect()
}

/// The cache domain with the most free cores of the fastest class that has any; of equal ones that with the most free cores at all, and of those the
/// first. `None` if nothing is free.
fn best_cache(cores: &[FreeCore<'_>]) -> Option<usize> {
    let fastest = cores.first()?.core.class;
    let count = |cache: usize, class: Option<usize>| {
        let is_in = |core: &&FreeCore<'_>| {
            core.core.cache == cache && class.is_none_or(|class| core.core.class == class)
        };
        cores.iter().filter(is_in).count()
    };
    let mut caches: Vec<usize> = cores.iter().map(|core| core.core.cache).collect();
    caches.sort_unstable();
    caches.dedup();
    // The last of equal ones wins, so the first cache comes last.
    caches.into_iter().rev().max_by_key(|cache| (count(*cache, Some(fastest)), count(*cache, None)))
}

impl Topology {
    /// The CPUs of each tier of [`Pinning::TieredSpillover`], in the order in which workers take them, among those that this process
    /// may use. A tier may be empty.
    pub fn tiers(&self) -> [Vec<CpuId>; TIERS] {
        tiers(self, &self.usable().collect::<Vec<_>>())
    }
}

impl Pinning {
    /// The CPUs that workers take, in this order, among those that are `free`, which ascend; a worker for which there is none is not
    /// pinned.
    pub(crate) fn order(&self, topology: &Topology, free: &[CpuId]) -> Vec<CpuId> {
        match self {
            Self::None => Vec::new(),
            Self::Linear => free.to_vec(),
            Self::AvoidSmt => cores_first(&free_cores(topology, free)),
            Self::CacheDomain => {
                let mut cores = free_cores(topology, free);
                let best = best_cache(&cores);
                cores.retain(|core| Some(core.core.cache) == best);
                cores_first(&cores)
            }
            Self::TieredSpillover => tiers(topology, free).concat(),
            Self::Custom(cpus) => cpus.clone(),
        }
    }

    /// How many workers there are by default, among CPUs that are `free`: as many as the strategy pins without sharing cores where it
    /// avoids that, but no more than the quota, rounded up. At least 1.
    pub(crate) fn default_workers(&self, topology: &Topology, free: &[CpuId]) -> usize {
        let count = match self {
            Self::None => return topology.default_workers(),
            Self::AvoidSmt => {
                let cores = free_cores(topology, free);
                // If there are only cores that others are on, as many as those.
                let own = cores.iter().filter(|core| !core.is_shared).count();
                if own > 0 { own } else { cores.len() }
            }
            Self::Custom(cpus) => cpus.len(),
            _ => self.order(topology, free).len(),
        };
        at_most(count, topology.quota())
    }
}

/// The CPUs of each tier: the first of each core of the [best](best_cache) cache domain; the first of each core of the others, the
/// nearest domains first; and the SMT siblings of both, in the same order.
pub(crate) fn tiers(topology: &Topology, free: &[CpuId]) -> [Vec<CpuId>; TIERS] {
    let mut cores = free_cores(topology, free);
    // Cores that other systems have workers on count as siblings, unless there are no others.
    let own_count = cores.iter().filter(|core| !core.is_shared).count();
    let shared = if own_count > 0 { cores.split_off(own_count) } else { Vec::new() };
    let Some(best) = best_cache(&cores) else { return Default::default() };
    let Some(home) = cores.iter().find(|core| core.core.cache == best).map(|core| core.cpus[0]) else {
        return Default::default();
    };
    let rank = |core: &FreeCore<'_>| {
        let cpu = core.cpus[0];
        let is_near = core.core.cache == best;
        (
            !is_near,
            topology.distance(home, cpu).max(super::Distance::Cache),
            topology.node_distance(home, cpu),
            core.core.class,
            core.core.cache,
        )
    };
    cores.sort_by_key(|core| (rank(core), core.cpus[0]));
    let near_count = cores.iter().take_while(|core| core.core.cache == best).count();
    let firsts: Vec<CpuId> = cores.iter().map(|core| core.cpus[0]).collect();
    let (near, others) = firsts.split_at(near_count);
    let mut siblings = cores_first(&cores).split_off(cores.len());
    siblings.extend(cores_first(&shared));
    [near.to_vec(), others.to_vec(), siblings]
}

#[cfg(test)]
mod tests;

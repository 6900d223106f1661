//! What is known of the machine: its CPUs and what they share.

use super::cpus::CpuId;
use std::fmt;

/// Where a [`Topology`] comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TopologySource {
    /// The operating system of this machine.
    System,
    /// A [recorded](Topology::read) tree of files.
    Recorded,
    /// Nothing could be read: there are as many CPUs as the standard library counts, each taken for a core of its own, and all
    /// share one cache, one node and one package.
    Fallback,
}

/// The machine's CPUs, and what they share.
///
/// Everything is read from the operating system, and nothing is concluded from the numbers of CPUs. What cannot be read is
/// assumed to be as simple as possible, and said in [`notes`](Self::notes).
///
/// # Examples
///
/// ```
/// let topology = ramie::Topology::detect();
/// assert!(topology.usable().count() >= 1);
/// for core in topology.cores() {
///     println!("core with CPUs {:?} in package {}", core.cpus, core.package);
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Topology {
    pub(super) source: TopologySource,
    /// Ascending.
    pub(super) cpus: Vec<Cpu>,
    pub(super) cores: Vec<Core>,
    pub(super) caches: Vec<CacheDomain>,
    pub(super) nodes: Vec<Node>,
    pub(super) packages: Vec<Package>,
    pub(super) classes: Vec<CoreClass>,
    pub(super) quota: Option<f64>,
    pub(super) notes: Vec<String>,
    /// Of the system that gives this out.
    pub(super) placement: Vec<Option<CpuId>>,
}

/// A logical CPU that is online.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cpu {
    /// Its number.
    pub id: CpuId,
    /// Whether this process may use it.
    pub usable: bool,
    /// Its core: an index into [`Topology::cores`].
    pub core: usize,
    /// How many CPUs of its core come before it: 0 for the first one, more for its SMT siblings.
    pub thread: usize,
}

/// A physical core.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Core {
    /// Its CPUs that are online, ascending: several with simultaneous multithreading (SMT).
    pub cpus: Vec<CpuId>,
    /// Its last-level cache: an index into [`Topology::caches`].
    pub cache: usize,
    /// Its NUMA node: an index into [`Topology::nodes`].
    pub node: usize,
    /// Its package: an index into [`Topology::packages`].
    pub package: usize,
    /// Its class: an index into [`Topology::classes`].
    pub class: usize,
}

/// CPUs that share their last level of cache (LLC): a CCX or CCD of AMD's, usually a whole package of Intel's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheDomain {
    /// Its CPUs that are online, ascending.
    pub cpus: Vec<CpuId>,
    /// The cache's level; `None` where no cache could be read, and the CPUs of a node are taken together.
    pub level: Option<u32>,
    /// The cache's size in bytes, if that is known.
    pub bytes: Option<u64>,
}

/// A NUMA node: CPUs that are equally far from all memory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Node {
    /// Its number.
    pub id: u32,
    /// Its CPUs that are online, ascending. A node without CPUs is left out.
    pub cpus: Vec<CpuId>,
    /// The distance to each of [`Topology::nodes`], itself included, in the firmware's units: 10 is local.
    pub distances: Vec<u32>,
}

/// A package: what sits in one socket.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Package {
    /// Its number.
    pub id: u32,
    /// Its CPUs that are online, ascending.
    pub cpus: Vec<CpuId>,
}

/// Cores that are equally fast, on machines where not all are. The fastest class comes first.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CoreClass {
    /// How fast they are, 1,024 being the fastest; 0 if only the order is known.
    pub capacity: u32,
    /// Its CPUs that are online, ascending.
    pub cpus: Vec<CpuId>,
}

/// How far apart two CPUs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Distance {
    /// The same CPU.
    Same,
    /// SMT siblings: the same core.
    Core,
    /// The same last-level cache.
    Cache,
    /// The same NUMA node.
    Node,
    /// Different nodes.
    Far,
}

impl Topology {
    /// Where this comes from.
    pub fn source(&self) -> TopologySource {
        self.source
    }

    /// The CPUs that are online, in ascending order.
    pub fn cpus(&self) -> &[Cpu] {
        &self.cpus
    }

    /// The cores, ordered by their first CPUs.
    pub fn cores(&self) -> &[Core] {
        &self.cores
    }

    /// The domains of the last-level caches, ordered by their first CPUs.
    pub fn caches(&self) -> &[CacheDomain] {
        &self.caches
    }

    /// The NUMA nodes, ordered by number.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The packages, ordered by number.
    pub fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// The classes of cores, the fastest first: one, unless the machine is hybrid.
    pub fn classes(&self) -> &[CoreClass] {
        &self.classes
    }

    /// The CPUs that this process may use, in ascending order: those of its affinity mask and its cgroup's cpuset that are online.
    pub fn usable(&self) -> impl Iterator<Item = CpuId> + '_ {
        self.cpus.iter().filter(|cpu| cpu.usable).map(|cpu| cpu.id)
    }

    /// How many CPUs' worth of time the process's cgroups allow it, if they limit that.
    pub fn quota(&self) -> Option<f64> {
        self.quota
    }

    /// What could not be read, or made no sense, and what was assumed in its place; one sentence each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// How many workers a system has by default: one for each usable CPU, but no more than the [quota](Self::quota), rounded up.
    ///
    /// On hybrid machines the slower cores count as well: jobs are stolen in pieces, so a slow core takes fewer of them and holds up
    /// nobody, unless single jobs are long; then choose [`Builder::workers`](crate::Builder::workers) by
    /// [`classes`](Self::classes). Always at least 1.
    pub fn default_workers(&self) -> usize {
        at_most(self.usable().count(), self.quota)
    }

    /// How many cores of the fastest [class](Self::classes) have a CPU that this process may use, but no more than the
    /// [quota](Self::quota), rounded up. Where the mask leaves none of that class, of the next one that it leaves some of. At least 1.
    pub fn fastest_cores(&self) -> usize {
        let is_usable = |core: &&Core| core.cpus.iter().any(|id| self.cpu(*id).is_some_and(|cpu| cpu.usable));
        let fastest = self.cores.iter().filter(is_usable).map(|core| core.class).min();
        let count = self.cores.iter().filter(is_usable).filter(|core| Some(core.class) == fastest).count();
        at_most(count, self.quota)
    }

    /// The CPU of each worker of the system that gave this out; `None` for those that are not pinned. Empty if no system did.
    pub fn placement(&self) -> &[Option<CpuId>] {
        &self.placement
    }

    pub(crate) fn with_placement(mut self, placement: Vec<Option<CpuId>>) -> Self {
        self.placement = placement;
        self
    }

    /// The CPU with this number, if it is online.
    pub fn cpu(&self, id: CpuId) -> Option<&Cpu> {
        let index = self.cpus.binary_search_by_key(&id, |cpu| cpu.id).ok()?;
        Some(&self.cpus[index])
    }

    /// How far apart two CPUs are; [`Far`](Distance::Far) if one of them is not online.
    pub fn distance(&self, a: CpuId, b: CpuId) -> Distance {
        if a == b {
            return Distance::Same;
        }
        let (Some(a), Some(b)) = (self.cpu(a), self.cpu(b)) else { return Distance::Far };
        let (first, second) = (&self.cores[a.core], &self.cores[b.core]);
        if a.core == b.core {
            Distance::Core
        } else if first.cache == second.cache {
            Distance::Cache
        } else if first.node == second.node {
            Distance::Node
        } else {
            Distance::Far
        }
    }

    /// The index of the node of a CPU; `None` if that is not online.
    pub(crate) fn node_of(&self, cpu: CpuId) -> Option<usize> {
        self.cpu(cpu).map(|cpu| self.cores[cpu.core].node)
    }

    /// The firmware's distance between the nodes of two CPUs; 0 if one of them is not online.
    pub(crate) fn node_distance(&self, a: CpuId, b: CpuId) -> u32 {
        match (self.node_of(a), self.node_of(b)) {
            (Some(a), Some(b)) => self.nodes[a].distances.get(b).copied().unwrap_or(0),
            _ => 0,
        }
    }
}

/// So many workers, but no more than the quota, rounded up; at least 1.
pub(super) fn at_most(workers: usize, quota: Option<f64>) -> usize {
    let allowed = quota.map_or(usize::MAX, |cpus| cpus.ceil().max(1.0) as usize);
    workers.min(allowed).max(1)
}

impl fmt::Display for Topology {
    /// One line: how many there are of everything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
        write!(
            f,
            "{}, {} of them usable, {}, {}, {}, {}",
            count(self.cpus.len(), "CPU", "CPUs"),
            self.usable().count(),
            count(self.cores.len(), "core", "cores"),
            count(self.caches.len(), "last-level cache", "last-level caches"),
            count(self.nodes.len(), "node", "nodes"),
            count(self.packages.len(), "package", "packages"),
        )?;
        if self.classes.len() > 1 {
            write!(f, ", {} classes of cores", self.classes.len())?;
        }
        if let Some(quota) = self.quota {
            write!(f, ", a quota of {quota} CPUs")?;
        }
        Ok(())
    }
}

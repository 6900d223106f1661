//! From whom a worker steals first: the nearest ones.

use super::cpus::CpuId;
use super::model::{Distance, Topology};
use std::ops::Range;

/// Workers that are equally far from one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Victims {
    /// How far they are; `None` where a worker is not pinned, so that nobody knows.
    pub distance: Option<Distance>,
    /// The workers, ascending. Among them a thief begins with a random one.
    pub workers: Vec<usize>,
}

impl Topology {
    /// The other workers of a system with this placement, in the order in which `worker` looks for work to steal: SMT siblings, the
    /// same last-level cache, the same node, other nodes by their distance, and those of whom nobody knows where they are. A pure
    /// function of its arguments.
    ///
    /// Workers that share the CPU of `worker` come first, as [`Distance::Same`]. All others are in one group if `worker` itself is not
    /// pinned, or is none.
    pub fn victims(&self, placement: &[Option<CpuId>], worker: usize) -> Vec<Victims> {
        let own = placement.get(worker).copied().flatten();
        let distance_to = |cpu: Option<CpuId>| {
            let (own, cpu) = (own?, cpu?);
            Some((self.distance(own, cpu), self.node_distance(own, cpu)))
        };
        let mut others: Vec<_> = placement
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != worker)
            .map(|(index, cpu)| (distance_to(*cpu), index))
            .collect();
        // Those that are not pinned come last.
        others.sort_by_key(|(distance, index)| (distance.is_none(), *distance, *index));
        let groups = others.chunk_by(|a, b| a.0 == b.0);
        groups
            .map(|group| Victims {
                distance: group[0].0.map(|(distance, _)| distance),
                workers: group.iter().map(|(_, index)| *index).collect(),
            })
            .collect()
    }
}

/// How many kinds of distances are told apart when steals are counted.
pub(crate) const STEAL_KINDS: usize = 5;

/// The same for all workers of a system, in a form that takes little memory and no search: workers in an order in which those that
/// share something are neighbours, and for each the ranges of those.
///
/// A cache that spans several nodes counts for the node of its first core.
#[derive(Debug)]
pub(crate) struct VictimTable {
    /// All workers; those that are not pinned last.
    order: Box<[u32]>,
    /// By worker.
    places: Box<[Place]>,
    /// For each node that has workers: those of the others, by distance, the nearest first.
    far: Box<[FarGroups]>,
    /// Where those that are not pinned begin.
    pinned_count: usize,
}

/// Workers of other nodes, those at one distance together.
type FarGroups = Box<[Box<[u32]>]>;

/// Where a worker is in the order, and the ranges around it, each within the next.
#[derive(Clone, Debug, Default)]
struct Place {
    at: usize,
    core: Range<usize>,
    cache: Range<usize>,
    node: Range<usize>,
    /// `None` for those that are not pinned.
    node_index: Option<usize>,
}

/// Victims at one distance: two runs of the order, of which the thief is in neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group<'a> {
    pub(crate) kind: StealKind,
    runs: [&'a [u32]; 2],
}

/// How far away a job was stolen; also the index of its counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StealKind {
    Core,
    Cache,
    Node,
    Far,
    Unknown,
}

impl StealKind {
    pub(crate) const ALL: [Self; STEAL_KINDS] =
        [Self::Core, Self::Cache, Self::Node, Self::Far, Self::Unknown];
}

impl Group<'_> {
    pub(crate) fn len(&self) -> usize {
        self.runs[0].len() + self.runs[1].len()
    }

    /// The victims, from number `start` on, which is less than [`len`](Self::len).
    pub(crate) fn from(&self, start: usize) -> impl Iterator<Item = usize> + '_ {
        let len = self.len();
        (0..len).map(move |step| {
            let index = if start + step < len { start + step } else { start + step - len };
            let first = self.runs[0].len();
            let worker = if index < first { self.runs[0][index] } else { self.runs[1][index - first] };
            worker as usize
        })
    }
}

impl VictimTable {
    /// The table of a system none of whose workers is pinned.
    pub(crate) fn unpinned(workers: usize) -> Self {
        let place = |at| Place { at, ..Place::default() };
        let order = (0..workers as u32).collect();
        Self { order, places: (0..workers).map(place).collect(), far: Box::default(), pinned_count: 0 }
    }

    pub(crate) fn new(topology: &Topology, placement: &[Option<CpuId>]) -> Self {
        // Where a worker is: its node, by way of its cache, its cache, its core.
        let homes: Vec<usize> =
            topology.caches().iter().enumerate().map(|(index, _)| home_node(topology, index)).collect();
        let key = |worker: usize| {
            let cpu = topology.cpu(placement[worker]?)?;
            let core = &topology.cores()[cpu.core];
            Some((homes[core.cache], core.cache, cpu.core))
        };
        let mut order: Vec<u32> = (0..placement.len() as u32).collect();
        order.sort_by_key(|worker| {
            let key = key(*worker as usize);
            (key.is_none(), key, *worker)
        });
        let mut places = vec![Place::default(); order.len()];
        let keys: Vec<_> = order.iter().map(|worker| key(*worker as usize)).collect();
        let mut node_ranges: Vec<(usize, Range<usize>)> = Vec::new();
        let range_of = |at: usize, same: &dyn Fn(usize) -> bool| {
            // Neighbours in the order: the range begins at the first of a run, and later ones find it there.
            let end = (at..keys.len()).find(|other| !same(*other)).unwrap_or(keys.len());
            at..end
        };
        for at in 0..keys.len() {
            let before = at.checked_sub(1).map(|at| order[at] as usize);
            let worker = order[at] as usize;
            let Some(own) = keys[at] else {
                places[worker] = Place { at, ..Place::default() };
                continue;
            };
            // What the worker before shares with this one has the same range.
            let shared = |level: usize| {
                let before = before?;
                let other = keys[at - 1]?;
                let same = match level {
                    0 => other == own,
                    1 => (other.0, other.1) == (own.0, own.1),
                    _ => other.0 == own.0,
                };
                same.then(|| places[before].clone())
            };
            let core =
                shared(0).map_or_else(|| range_of(at, &|other| keys[other] == Some(own)), |place| place.core);
            let in_cache = |other: usize| keys[other].is_some_and(|key| (key.0, key.1) == (own.0, own.1));
            let cache = shared(1).map_or_else(|| range_of(at, &in_cache), |place| place.cache);
            let in_node = |other: usize| keys[other].is_some_and(|key| key.0 == own.0);
            let node = match shared(2) {
                Some(place) => place.node,
                None => {
                    let range = range_of(at, &in_node);
                    node_ranges.push((own.0, range.clone()));
                    range
                }
            };
            let node_index = Some(node_ranges.len() - 1);
            places[worker] = Place { at, core, cache, node, node_index };
        }
        let others_of = |own: &(usize, Range<usize>)| {
            let distance =
                |node: usize| topology.nodes()[own.0].distances.get(node).copied().unwrap_or(u32::MAX);
            let mut others: Vec<_> = node_ranges.iter().filter(|other| other.0 != own.0).collect();
            others.sort_by_key(|other| (distance(other.0), other.0));
            let groups = others.chunk_by(|a, b| distance(a.0) == distance(b.0));
            groups
                .map(|group| group.iter().flat_map(|other| order[other.1.clone()].iter().copied()).collect())
                .collect()
        };
        let far = node_ranges.iter().map(others_of).collect();
        let pinned_count = keys.iter().take_while(|key| key.is_some()).count();
        Self { order: order.into(), places: places.into(), far, pinned_count }
    }

    /// The groups of `worker`'s victims, the nearest first; some may be empty.
    pub(crate) fn groups(&self, worker: usize) -> impl Iterator<Item = Group<'_>> {
        let place = &self.places[worker];
        let around = |kind, outer: &Range<usize>, inner: &Range<usize>| Group {
            kind,
            runs: [&self.order[outer.start..inner.start], &self.order[inner.end..outer.end]],
        };
        let own = place.at..place.at + 1;
        let unpinned = self.pinned_count..self.order.len();
        let (near, rest) = match place.node_index {
            Some(_) => {
                let near = [
                    around(StealKind::Core, &place.core, &own),
                    around(StealKind::Cache, &place.cache, &place.core),
                    around(StealKind::Node, &place.node, &place.cache),
                ];
                (Some(near), around(StealKind::Unknown, &unpinned, &(unpinned.start..unpinned.start)))
            }
            None => (None, around(StealKind::Unknown, &(0..self.order.len()), &own)),
        };
        let far = place.node_index.map_or(&[][..], |node| &self.far[node]);
        let far = far.iter().map(|workers| Group { kind: StealKind::Far, runs: [workers, &[]] });
        near.into_iter().flatten().chain(far).chain([rest]).filter(|group| group.len() > 0)
    }
}

/// The node of a cache: that of its first core.
fn home_node(topology: &Topology, cache: usize) -> usize {
    topology.cores().iter().find(|core| core.cache == cache).map_or(0, |core| core.node)
}

#[cfg(test)]
pub(super) mod tests;

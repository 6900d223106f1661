//! The table says the same as `Topology::victims`, where caches lie within nodes.

use super::{StealKind, VictimTable};
use crate::topology::model::{CacheDomain, Core, CoreClass, Cpu, Node, Package, Topology, TopologySource};
use crate::topology::{CpuId, Distance};

/// A machine of `nodes` nodes with `caches` caches each of `cores` cores with `threads` threads. Distances grow with the difference of the
/// nodes' numbers.
pub(in crate::topology) fn machine(nodes: usize, caches: usize, cores: usize, threads: usize) -> Topology {
    let total = nodes * caches * cores;
    let core = |index: usize| Core {
        cpus: (0..threads).map(|thread| CpuId((index + thread * total) as u32)).collect(),
        cache: index / cores,
        node: index / cores / caches,
        package: 0,
        class: 0,
    };
    let cores: Vec<Core> = (0..total).map(core).collect();
    let cpus_where = |wanted: &dyn Fn(&Core) -> bool| {
        let mut cpus: Vec<CpuId> =
            cores.iter().filter(|core| wanted(core)).flat_map(|core| core.cpus.clone()).collect();
        cpus.sort_unstable();
        cpus
    };
    let all = cpus_where(&|_| true);
    let cpu = |id: &CpuId| {
        let (thread, core) = (id.0 as usize / total, id.0 as usize % total);
        Cpu { id: *id, usable: true, core, thread }
    };
    Topology {
        source: TopologySource::Recorded,
        cpus: all.iter().map(cpu).collect(),
        caches: (0..nodes * caches)
            .map(|cache| CacheDomain {
                cpus: cpus_where(&|core| core.cache == cache),
                level: Some(3),
                bytes: None,
            })
            .collect(),
        nodes: (0..nodes)
            .map(|node| Node {
                id: node as u32,
                cpus: cpus_where(&|core| core.node == node),
                distances: (0..nodes).map(|other| 10 + 10 * node.abs_diff(other) as u32).collect(),
            })
            .collect(),
        packages: vec![Package { id: 0, cpus: all.clone() }],
        classes: vec![CoreClass { capacity: 1024, cpus: all }],
        cores,
        quota: None,
        notes: vec![],
        placement: vec![],
    }
}

fn kind(distance: Option<Distance>) -> StealKind {
    match distance {
        Some(Distance::Same | Distance::Core) => StealKind::Core,
        Some(Distance::Cache) => StealKind::Cache,
        Some(Distance::Node) => StealKind::Node,
        Some(Distance::Far) => StealKind::Far,
        None => StealKind::Unknown,
    }
}

#[test]
fn it_says_the_same_as_the_topology() {
    for (nodes, caches, cores, threads) in
        [(1, 1, 1, 1), (1, 1, 4, 2), (1, 2, 3, 2), (2, 2, 2, 2), (3, 1, 2, 1)]
    {
        let topology = machine(nodes, caches, cores, threads);
        let count = nodes * caches * cores * threads;
        // All pinned in order, backwards, every third not pinned, two to a CPU, none pinned.
        let placements: [Vec<Option<CpuId>>; 5] = [
            (0..count).map(|cpu| Some(CpuId(cpu as u32))).collect(),
            (0..count).rev().map(|cpu| Some(CpuId(cpu as u32))).collect(),
            (0..count).map(|cpu| (cpu % 3 != 0).then_some(CpuId(cpu as u32))).collect(),
            (0..2 * count).map(|cpu| Some(CpuId((cpu / 2) as u32))).collect(),
            vec![None; count],
        ];
        for placement in placements {
            let table = VictimTable::new(&topology, &placement);
            for worker in 0..placement.len() {
                let mut expected: Vec<(StealKind, Vec<usize>)> = Vec::new();
                for group in topology.victims(&placement, worker) {
                    let kind = kind(group.distance);
                    match expected.last_mut() {
                        Some(last) if last.0 == kind && kind == StealKind::Core => {
                            last.1.extend(group.workers)
                        }
                        _ => expected.push((kind, group.workers)),
                    }
                }
                expected.iter_mut().for_each(|group| group.1.sort_unstable());
                let sorted = |group: super::Group<'_>| {
                    let mut workers: Vec<usize> = group.from(0).collect();
                    workers.sort_unstable();
                    (group.kind, workers)
                };
                let found: Vec<_> = table.groups(worker).map(sorted).collect();
                assert_eq!(found, expected, "worker {worker} of {placement:?}");
            }
        }
    }
}

#[test]
fn a_group_may_begin_anywhere() {
    let topology = machine(1, 1, 5, 1);
    let placement: Vec<_> = (0..5).map(|cpu| Some(CpuId(cpu))).collect();
    let table = VictimTable::new(&topology, &placement);
    let group = table.groups(2).next().unwrap();
    assert_eq!(group.len(), 4);
    for start in 0..4 {
        let mut workers: Vec<usize> = group.from(start).collect();
        assert_eq!(workers[0], [0, 1, 3, 4][start]);
        workers.sort_unstable();
        assert_eq!(workers, [0, 1, 3, 4]);
    }
}

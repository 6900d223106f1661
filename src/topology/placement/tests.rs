//! Placements beside other pinned systems of the process, and tiers. What strategies do with a whole machine is in `tests/topology.rs`.

use super::{TIERS, tiers};
use crate::topology::victims::tests::machine;
use crate::topology::{CpuId, Pinning, Topology};

fn cpus(numbers: impl IntoIterator<Item = u32>) -> Vec<CpuId> {
    numbers.into_iter().map(CpuId).collect()
}

fn free(topology: &Topology, taken: &[u32]) -> Vec<CpuId> {
    topology.usable().filter(|cpu| !taken.contains(&cpu.0)).collect()
}

/// Two nodes of one cache with two cores of two threads: siblings are i and i + 4.
fn small() -> Topology {
    machine(2, 1, 2, 2)
}

#[test]
fn a_second_system_takes_cores_of_its_own_first() {
    let topology = small();
    let order = |pinning: Pinning, taken: &[u32]| pinning.order(&topology, &free(&topology, taken));
    let workers =
        |pinning: Pinning, taken: &[u32]| pinning.default_workers(&topology, &free(&topology, taken));
    assert_eq!(order(Pinning::AvoidSmt, &[]), cpus([0, 1, 2, 3, 4, 5, 6, 7]));
    assert_eq!(workers(Pinning::AvoidSmt, &[]), 4);
    // CPU 0 is taken: core 0 comes last, and is no core to have to oneself.
    assert_eq!(order(Pinning::AvoidSmt, &[0]), cpus([1, 2, 3, 4, 5, 6, 7]));
    assert_eq!(workers(Pinning::AvoidSmt, &[0]), 3);
    assert_eq!(order(Pinning::AvoidSmt, &[4]), cpus([1, 2, 3, 0, 5, 6, 7]));
    // All first threads are taken: as many workers as siblings.
    assert_eq!(order(Pinning::AvoidSmt, &[0, 1, 2, 3]), cpus([4, 5, 6, 7]));
    assert_eq!(workers(Pinning::AvoidSmt, &[0, 1, 2, 3]), 4);
    assert_eq!(order(Pinning::Linear, &[0, 2]), cpus([1, 3, 4, 5, 6, 7]));
    assert_eq!(workers(Pinning::Linear, &[0, 2]), 6);
    // Of two caches the one with more free cores.
    assert_eq!(order(Pinning::CacheDomain, &[0, 4]), cpus([2, 3, 6, 7]));
    assert_eq!(workers(Pinning::CacheDomain, &[0, 4]), 4);
    assert_eq!(order(Pinning::CacheDomain, &[0, 1, 2, 3, 4, 5, 6, 7]), []);
}

#[test]
fn tiers_of_machines_whole_and_in_part() {
    let topology = small();
    let of = |taken: &[u32]| tiers(&topology, &free(&topology, taken));
    let expected = |tiers: [&[u32]; TIERS]| tiers.map(|tier| cpus(tier.iter().copied()));
    assert_eq!(of(&[]), expected([&[0, 1], &[2, 3], &[4, 5, 6, 7]]));
    // A core that another system has a worker on is as good as a sibling.
    assert_eq!(of(&[0]), expected([&[2, 3], &[1], &[6, 7, 5, 4]]));
    assert_eq!(of(&[0, 1, 2, 3]), expected([&[4, 5], &[6, 7], &[]]));
    assert_eq!(of(&[0, 1, 2, 3, 4, 5, 6, 7]), expected([&[], &[], &[]]));
    // One core: no other tier than the first and the siblings.
    assert_eq!(tiers(&machine(1, 1, 1, 1), &cpus([0])), expected([&[0], &[], &[]]));
    assert_eq!(tiers(&machine(1, 1, 1, 2), &cpus([0, 1])), expected([&[0], &[], &[1]]));
    // The nearest cache first: two nodes of two caches of two cores, of which the home is the first.
    let four = machine(2, 2, 2, 1);
    assert_eq!(
        tiers(&four, &four.usable().collect::<Vec<_>>()),
        expected([&[0, 1], &[2, 3, 4, 5, 6, 7], &[]])
    );
}

#[test]
fn background_workers_share_cpus_with_the_last_workers_first() {
    use crate::topology::background_placement;
    let of = |placement: &[Option<u32>], usable: &[u32], count: usize| {
        let placement: Vec<Option<CpuId>> = placement.iter().map(|cpu| cpu.map(CpuId)).collect();
        let placed = background_placement(&placement, &cpus(usable.iter().copied()), count);
        placed.into_iter().map(|cpu| cpu.map(|cpu| cpu.0)).collect::<Vec<_>>()
    };
    assert_eq!(of(&[Some(0), Some(1)], &[0, 1, 2, 3], 5), [1, 0, 2, 3, 1].map(Some));
    // The main thread's CPU is one that no worker is bound to.
    assert_eq!(of(&[None, Some(1)], &[0, 1], 2), [1, 0].map(Some));
    assert_eq!(of(&[None, None], &[], 2), [None, None]);
    assert_eq!(of(&[Some(3)], &[3], 0), []);
}

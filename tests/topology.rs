//! Topologies of recorded machines: what is read, where each strategy puts workers, from whom they steal; and that no tree, however
//! garbled, makes it panic or leave the affinity mask.

mod common;

use common::trees::{self, Folder, Machine};
use common::{Rng, seed, soak};
use ramie::{BuildError, CpuId, Distance, Pinning, Topology, TopologyError, TopologySource};

fn read(folder: &Folder) -> Topology {
    Topology::read(folder.path()).expect("it is a tree")
}

fn of(machine: &Machine) -> Topology {
    let topology = read(&machine.write());
    assert_eq!(topology.source(), TopologySource::Recorded);
    topology
}

fn numbers(cpus: impl IntoIterator<Item = CpuId>) -> Vec<u32> {
    cpus.into_iter().map(|cpu| cpu.0).collect()
}

/// The CPUs of a placement that pins all.
#[track_caller]
fn placed(topology: &Topology, pinning: &Pinning, workers: usize) -> Vec<u32> {
    let placement = topology.place(pinning, workers).unwrap_or_else(|error| panic!("{pinning:?}: {error}"));
    assert_eq!(placement, topology.place_best_effort(pinning, workers));
    numbers(placement.into_iter().map(|cpu| cpu.expect("all are pinned")))
}

/// Cores, caches, nodes, packages, classes, and the CPUs of the first of each.
#[test]
fn what_is_read() {
    type Counts = [usize; 5];
    type Row = (&'static str, Machine, Counts, &'static [u32], &'static [u32]);
    let table: [Row; 7] = [
        ("one", trees::one(), [1, 1, 1, 1, 1], &[0], &[0]),
        ("two", trees::two(), [2, 1, 1, 1, 1], &[0], &[0, 1]),
        (
            "halves",
            trees::eight_by_halves(),
            [8, 1, 1, 1, 1],
            &[0, 8],
            &(0..16).collect::<Vec<_>>().leak()[..],
        ),
        ("pairs", trees::eight_by_pairs(), [8, 1, 1, 1, 1], &[0, 1], &(0..16).collect::<Vec<_>>().leak()[..]),
        (
            "ccds",
            trees::two_ccds(),
            [16, 2, 1, 1, 1],
            &[0, 16],
            &(0..8).chain(16..24).collect::<Vec<_>>().leak()[..],
        ),
        (
            "sockets",
            trees::dual_socket(),
            [32, 2, 2, 2, 1],
            &[0, 32],
            &(0..16).chain(32..48).collect::<Vec<_>>().leak()[..],
        ),
        ("hybrid", trees::hybrid(), [24, 1, 1, 1, 2], &[0, 1], &(0..32).collect::<Vec<_>>().leak()[..]),
    ];
    for (name, machine, [cores, caches, nodes, packages, classes], first_core, first_cache) in table {
        let topology = of(&machine);
        let counts = [
            topology.cores().len(),
            topology.caches().len(),
            topology.nodes().len(),
            topology.packages().len(),
            topology.classes().len(),
        ];
        assert_eq!(counts, [cores, caches, nodes, packages, classes], "{name}");
        assert_eq!(numbers(topology.cores()[0].cpus.clone()), first_core, "{name}");
        assert_eq!(numbers(topology.caches()[0].cpus.clone()), first_cache, "{name}");
        assert_eq!(topology.caches()[0].level, Some(3), "{name}");
        assert_eq!(topology.caches()[0].bytes, Some(32 << 20), "{name}");
        assert!(topology.notes().is_empty(), "{name}: {:?}", topology.notes());
        assert_eq!(topology.default_workers(), topology.cpus().len(), "{name}");
    }
    let sockets = of(&trees::dual_socket());
    assert_eq!(sockets.nodes()[0].distances, [10, 21]);
    assert_eq!(sockets.nodes()[1].distances, [21, 10]);
    let hybrid = of(&trees::hybrid());
    assert_eq!(hybrid.classes().iter().map(|class| class.capacity).collect::<Vec<_>>(), [1024, 560]);
    assert_eq!(hybrid.classes()[1].cpus.len(), 16);
}

/// A machine, a strategy, and the CPUs of as many workers as there are in the list.
#[test]
fn where_each_strategy_puts_workers() {
    use Pinning::{AvoidSmt, CacheDomain, Linear, TieredSpillover};
    let range = |range: std::ops::Range<u32>| range.collect::<Vec<u32>>();
    let chain = |parts: &[std::ops::Range<u32>]| parts.iter().cloned().flatten().collect::<Vec<u32>>();
    let evens = |below: u32| (0..below).step_by(2).collect::<Vec<u32>>();
    let odds = |below: u32| (1..below).step_by(2).collect::<Vec<u32>>();
    let table: Vec<(&str, Machine, Pinning, Vec<u32>)> = vec![
        ("one", trees::one(), Linear, vec![0]),
        ("one", trees::one(), AvoidSmt, vec![0]),
        ("one", trees::one(), CacheDomain, vec![0]),
        ("one", trees::one(), TieredSpillover, vec![0]),
        ("two", trees::two(), Linear, vec![0, 1]),
        ("two", trees::two(), AvoidSmt, vec![0, 1]),
        ("two", trees::two(), CacheDomain, vec![0, 1]),
        ("two", trees::two(), TieredSpillover, vec![0, 1]),
        ("halves", trees::eight_by_halves(), Linear, range(0..16)),
        ("halves", trees::eight_by_halves(), AvoidSmt, range(0..16)),
        ("halves", trees::eight_by_halves(), CacheDomain, range(0..16)),
        ("halves", trees::eight_by_halves(), TieredSpillover, range(0..16)),
        ("pairs", trees::eight_by_pairs(), Linear, range(0..16)),
        ("pairs", trees::eight_by_pairs(), AvoidSmt, [evens(16), odds(16)].concat()),
        ("pairs", trees::eight_by_pairs(), CacheDomain, [evens(16), odds(16)].concat()),
        ("pairs", trees::eight_by_pairs(), TieredSpillover, [evens(16), odds(16)].concat()),
        ("ccds", trees::two_ccds(), Linear, range(0..32)),
        ("ccds", trees::two_ccds(), AvoidSmt, range(0..32)),
        ("ccds", trees::two_ccds(), CacheDomain, chain(&[0..8, 16..24])),
        ("ccds", trees::two_ccds(), TieredSpillover, range(0..32)),
        ("sockets", trees::dual_socket(), AvoidSmt, range(0..64)),
        ("sockets", trees::dual_socket(), CacheDomain, chain(&[0..16, 32..48])),
        ("sockets", trees::dual_socket(), TieredSpillover, range(0..64)),
        ("hybrid", trees::hybrid(), Linear, range(0..32)),
        ("hybrid", trees::hybrid(), AvoidSmt, [evens(16), range(16..32), odds(16)].concat()),
        ("hybrid", trees::hybrid(), CacheDomain, [evens(16), range(16..32), odds(16)].concat()),
        ("hybrid", trees::hybrid(), TieredSpillover, [evens(16), range(16..32), odds(16)].concat()),
        ("container", trees::container(), Linear, vec![3, 5, 7]),
        ("container", trees::container(), AvoidSmt, vec![3, 5, 7]),
        ("container", trees::container(), CacheDomain, vec![3, 5, 7]),
        ("container", trees::container(), TieredSpillover, vec![3, 5, 7]),
    ];
    for (name, machine, pinning, all) in table {
        let topology = of(&machine);
        for workers in [1, 2, 3, 8, 16, all.len()] {
            if workers <= all.len() {
                assert_eq!(
                    placed(&topology, &pinning, workers),
                    all[..workers],
                    "{name}, {pinning:?}, {workers} workers"
                );
            }
        }
        let error = topology.place(&pinning, all.len() + 1).expect_err("there is no further CPU");
        let mut sorted = all.clone();
        sorted.sort_unstable();
        assert!(
            matches!(&error, BuildError::TooFewCpus { usable, .. } if numbers(usable.clone()) == sorted),
            "{name}, {pinning:?}: {error}"
        );
        let effort = topology.place_best_effort(&pinning, all.len() + 2);
        assert_eq!(effort[all.len()..], [None, None], "{name}, {pinning:?}");
    }
}

#[test]
fn the_mask_may_leave_the_second_thread_of_a_core() {
    let topology = of(&trees::eight_by_halves().allowed("1-3,8-9"));
    assert_eq!(numbers(topology.usable()), [1, 2, 3, 8, 9]);
    // CPU 8 is all that is left of its core; 9 is the sibling of 1.
    assert_eq!(placed(&topology, &Pinning::AvoidSmt, 5), [1, 2, 3, 8, 9]);
    assert_eq!(topology.default_workers(), 5);
}

#[test]
fn the_cache_with_the_most_cores_of_the_fastest_kind_is_taken() {
    // Two CCDs, of the first of which the mask leaves less.
    let topology = of(&trees::two_ccds().allowed("4-15,20-31"));
    let second: Vec<u32> = (8..16).chain(24..32).collect();
    assert_eq!(placed(&topology, &Pinning::CacheDomain, 16), second);
    let tiers: Vec<u32> = (8..16).chain(4..8).chain(24..32).chain(20..24).collect();
    assert_eq!(placed(&topology, &Pinning::TieredSpillover, 24), tiers);
    // The first threads of half of its cores are gone, which leaves as many cores.
    let topology = of(&trees::two_ccds().allowed("4-31"));
    assert_eq!(placed(&topology, &Pinning::CacheDomain, 8), [4, 5, 6, 7, 16, 17, 18, 19]);
}

/// A machine, a strategy with a number of workers, a worker, and its victims by distance.
#[test]
fn whom_each_worker_robs_first() {
    use Distance::{Cache, Core, Far};
    let groups = |machine: &Machine, pinning: &Pinning, workers: usize, worker: usize| {
        let topology = of(machine);
        let placement = topology.place(pinning, workers).unwrap();
        let victims = topology.victims(&placement, worker);
        victims.into_iter().map(|group| (group.distance, group.workers)).collect::<Vec<_>>()
    };
    let linear = Pinning::Linear;
    assert_eq!(groups(&trees::one(), &linear, 1, 0), []);
    assert_eq!(groups(&trees::two(), &linear, 2, 1), [(Some(Cache), vec![0])]);
    let seven_others = vec![1, 2, 3, 4, 5, 6, 7];
    assert_eq!(
        groups(&trees::eight_by_halves(), &linear, 9, 0),
        [(Some(Core), vec![8]), (Some(Cache), seven_others.clone())]
    );
    assert_eq!(
        groups(&trees::eight_by_pairs(), &linear, 4, 2),
        [(Some(Core), vec![3]), (Some(Cache), vec![0, 1])]
    );
    let ccds = groups(&trees::two_ccds(), &linear, 32, 8);
    assert_eq!(ccds[0], (Some(Core), vec![24]));
    assert_eq!(ccds[1], (Some(Cache), (9..16).chain(25..32).collect()));
    assert_eq!(ccds[2], (Some(Distance::Node), (0..8).chain(16..24).collect()));
    let sockets = groups(&trees::dual_socket(), &linear, 64, 0);
    assert_eq!(sockets[0], (Some(Core), vec![32]));
    assert_eq!(sockets[1], (Some(Cache), (1..16).chain(33..48).collect()));
    assert_eq!(sockets[2], (Some(Far), (16..32).chain(48..64).collect()));
    // Nodes at two distances are two groups.
    let chain = Machine::default().core(&[0], 0, 0, 0).core(&[1], 0, 1, 1).core(&[2], 0, 2, 2);
    let chain = chain.distances(&[&[10, 20, 40], &[20, 10, 20], &[40, 20, 10]]);
    assert_eq!(groups(&chain, &linear, 3, 0), [(Some(Far), vec![1]), (Some(Far), vec![2])]);
    // Workers that are not pinned are nowhere, and nobody knows how far.
    let topology = of(&trees::two());
    let placement = [Some(CpuId(0)), None, Some(CpuId(0))];
    let victims = topology.victims(&placement, 0);
    assert_eq!(victims.iter().map(|group| group.distance).collect::<Vec<_>>(), [Some(Distance::Same), None]);
    assert_eq!(topology.victims(&placement, 1)[0].workers, [0, 2]);
    assert_eq!(topology.victims(&placement, 7)[0].workers, [0, 1, 2]);
}

#[test]
fn quotas_of_both_kinds_of_control_groups_bound_the_default() {
    let with = |files: &[(&str, &str)]| {
        let folder = trees::container().write();
        files.iter().for_each(|(path, text)| _ = folder.file(path, text));
        read(&folder)
    };
    let v2 =
        with(&[("proc/self/cgroup", "0::/box/inner\n"), ("sys/fs/cgroup/box/cpu.max", "150000 100000\n")]);
    assert_eq!((v2.quota(), v2.default_workers()), (Some(1.5), 2));
    // The innermost allows more than the one around it.
    let nested = with(&[
        ("proc/self/cgroup", "0::/box/inner\n"),
        ("sys/fs/cgroup/box/inner/cpu.max", "400000 100000\n"),
        ("sys/fs/cgroup/box/cpu.max", "50000 100000\n"),
    ]);
    assert_eq!((nested.quota(), nested.default_workers()), (Some(0.5), 1));
    let unlimited = with(&[("proc/self/cgroup", "0::/box\n"), ("sys/fs/cgroup/box/cpu.max", "max 100000\n")]);
    assert_eq!((unlimited.quota(), unlimited.default_workers()), (None, 3));
    let v1 = with(&[
        ("proc/self/cgroup", "4:memory:/elsewhere\n3:cpu,cpuacct:/box\n2:cpuset:/box\n"),
        ("sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us", "150000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us", "100000\n"),
        ("sys/fs/cgroup/cpuset/box/cpuset.cpus", "0-5\n"),
    ]);
    assert_eq!((v1.quota(), numbers(v1.usable())), (Some(1.5), vec![3, 5]));
    // The host's path, of which this container sees only its own root.
    let own_root = with(&[
        ("proc/self/cgroup", "3:cpu:/docker/0123\n"),
        ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "250000\n"),
        ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
    ]);
    assert_eq!(own_root.quota(), Some(2.5));
    let no_limit = with(&[
        ("proc/self/cgroup", "3:cpu:/\n"),
        ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
        ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
    ]);
    assert_eq!((no_limit.quota(), no_limit.notes().len()), (None, 0));
    let cpuset =
        with(&[("proc/self/cgroup", "0::/a/../b\n"), ("sys/fs/cgroup/cpuset.cpus.effective", "5-7\n")]);
    assert_eq!(numbers(cpuset.usable()), [5, 7]);
    for garbled in ["", "x", "1", "-5 100000", "1 0", "max", "99999999999999999999 1"] {
        let topology = with(&[("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/cpu.max", garbled)]);
        assert!(topology.default_workers() >= 1, "{garbled:?}");
    }
}

#[test]
fn cpus_that_are_offline_are_not_there() {
    let topology = of(&trees::eight_by_pairs().offline(&[1, 4, 5]));
    assert_eq!(topology.cpus().len(), 13);
    assert_eq!(topology.cores().len(), 7);
    assert!(topology.cpu(CpuId(4)).is_none());
    assert_eq!(placed(&topology, &Pinning::AvoidSmt, 7), [0, 2, 6, 8, 10, 12, 14]);
    assert_eq!(topology.distance(CpuId(0), CpuId(1)), Distance::Far);
    // The same without a list of those that are online.
    let folder = trees::eight_by_pairs().offline(&[1, 4, 5]).write();
    folder.without("sys/devices/system/cpu/online");
    let listed = read(&folder);
    assert_eq!(listed.cores(), topology.cores());
    assert_eq!(listed.notes().len(), 1, "{:?}", listed.notes());
}

#[test]
fn machines_with_many_cpus() {
    for count in [65, 1026] {
        let machine = Machine::default().cores(count / 2, (0, 0, 0), |core| vec![core]);
        let machine = machine.cores(count - count / 2, (1, 1, 1), |core| vec![core + count / 2]);
        let topology = of(&machine);
        assert_eq!(topology.cpus().len(), count as usize);
        assert_eq!(placed(&topology, &Pinning::Linear, count as usize), (0..count).collect::<Vec<_>>());
        let far = topology.victims(&topology.place(&Pinning::Linear, count as usize).unwrap(), 0);
        assert_eq!(far.iter().map(|group| group.workers.len()).sum::<usize>(), count as usize - 1);
        // Of equal caches the first, and the larger of unequal ones.
        let first = if count % 2 == 0 { 0..count / 2 } else { count / 2..count };
        let home: Vec<u32> = first.collect();
        assert_eq!(placed(&topology, &Pinning::CacheDomain, home.len()), home);
    }
}

#[test]
fn what_is_missing_is_assumed_to_be_simple_and_noted() {
    let cpu = "sys/devices/system/cpu";
    let folder = trees::two_ccds().write();
    for number in 0..32 {
        folder.without(&format!("{cpu}/cpu{number}/cache"));
    }
    let topology = read(&folder);
    assert_eq!((topology.caches().len(), topology.caches()[0].level), (1, None));
    assert!(topology.notes().iter().any(|note| note.contains("caches")), "{:?}", topology.notes());
    folder.without("sys/devices/system/node");
    let topology = read(&folder);
    assert_eq!((topology.nodes().len(), topology.nodes()[0].cpus.len()), (1, 32));
    assert!(topology.notes().iter().any(|note| note.contains("NUMA")), "{:?}", topology.notes());
    for number in 0..32 {
        folder.without(&format!("{cpu}/cpu{number}/topology"));
    }
    let topology = read(&folder);
    assert_eq!((topology.cores().len(), topology.packages().len()), (32, 1));
    assert_eq!(topology.notes().len(), 4, "{:?}", topology.notes());
    folder.without("sys");
    assert!(matches!(Topology::read(folder.path()), Err(TopologyError::NotATree { .. })));
    let text = Topology::read("/nonexistent").unwrap_err().to_string();
    assert!(text.contains("/nonexistent") && text.contains("record"), "{text}");
}

#[test]
fn a_mask_that_leaves_nothing_is_ignored() {
    let topology = of(&trees::two().allowed("5-7"));
    assert_eq!(numbers(topology.usable()), [0, 1]);
    assert!(topology.notes()[0].contains("affinity mask"), "{:?}", topology.notes());
}

/// Any tree gives placements with no CPU outside of the mask, each worker's CPU once, and never a panic.
#[test]
fn random_and_garbled_trees_keep_their_promises() {
    let mut rng = Rng(seed());
    for _ in 0..40 * soak() {
        let folder = random_machine(&mut rng).write();
        for _ in 0..rng.below(12) {
            garble(&folder, &mut rng);
        }
        let Ok(topology) = Topology::read(folder.path()) else { continue };
        check(&topology, &mut rng);
    }
}

fn random_machine(rng: &mut Rng) -> Machine {
    let threads = 1 + rng.below(3) as u32;
    let count = 1 + rng.below(10) as u32;
    let caches = 1 + rng.below(4);
    let mut machine = Machine::default();
    for core in 0..count {
        let cpus: Vec<u32> = (0..threads).map(|thread| core + thread * count).collect();
        let cache = u64::from(core) * caches / u64::from(count);
        let node = (cache / 2) as u32;
        machine = machine.core(&cpus, node, node, cache as usize);
    }
    if rng.below(2) == 0 {
        machine =
            machine.capacities((0..count).map(|_| [1024, 1010, 600, 0][rng.below(4) as usize]).collect());
    }
    match rng.below(3) {
        0 => machine.allowed("0-2,5,9-40"),
        1 => machine.offline(&[1]),
        _ => machine,
    }
}

/// Spoils one file.
fn garble(folder: &Folder, rng: &mut Rng) {
    let cpu = rng.below(40);
    let files = [
        "sys/devices/system/cpu/online".to_owned(),
        format!("sys/devices/system/cpu/cpu{cpu}/topology/core_cpus_list"),
        format!("sys/devices/system/cpu/cpu{cpu}/topology/physical_package_id"),
        format!("sys/devices/system/cpu/cpu{cpu}/cache/index2/shared_cpu_list"),
        format!("sys/devices/system/cpu/cpu{cpu}/cache/index{}/level", rng.below(4)),
        format!("sys/devices/system/cpu/cpu{cpu}/cpu_capacity"),
        format!("sys/devices/system/node/node{}/cpulist", rng.below(3)),
        format!("sys/devices/system/node/node{}/distance", rng.below(3)),
        "sys/devices/system/node/online".to_owned(),
        "proc/self/status".to_owned(),
        "proc/self/cgroup".to_owned(),
    ];
    let texts = [
        "",
        "\n",
        "-1",
        "0-7",
        "3,2,1",
        "0-65535",
        "0-4294967295",
        "x",
        "\0\0",
        "7-3",
        "1 2 3",
        "18446744073709551616",
    ];
    let file = &files[rng.below(files.len() as u64) as usize];
    match rng.below(4) {
        0 => folder.without(file),
        _ => folder.file(file, texts[rng.below(texts.len() as u64) as usize]),
    };
}

fn check(topology: &Topology, rng: &mut Rng) {
    let usable = numbers(topology.usable());
    assert!(!usable.is_empty() && usable.is_sorted());
    let mut partitioned = 0;
    for (index, core) in topology.cores().iter().enumerate() {
        partitioned += core.cpus.len();
        for cpu in &core.cpus {
            assert_eq!(topology.cpu(*cpu).expect("it is online").core, index);
            assert!(topology.caches()[core.cache].cpus.contains(cpu));
            assert!(topology.nodes()[core.node].cpus.contains(cpu));
            assert!(topology.packages()[core.package].cpus.contains(cpu));
            assert!(topology.classes()[core.class].cpus.contains(cpu));
        }
    }
    assert_eq!(partitioned, topology.cpus().len());
    let workers = 1 + rng.below(2 * usable.len().min(200) as u64) as usize;
    for pinning in
        [Pinning::None, Pinning::Linear, Pinning::AvoidSmt, Pinning::CacheDomain, Pinning::TieredSpillover]
    {
        let placement = topology.place_best_effort(&pinning, workers);
        assert_eq!(placement.len(), workers);
        let mut cpus = numbers(placement.iter().copied().flatten());
        assert!(cpus.iter().all(|cpu| usable.binary_search(cpu).is_ok()), "{pinning:?}");
        cpus.sort_unstable();
        assert!(cpus.is_sorted_by(|a, b| a < b), "{pinning:?}: a CPU for each");
        match topology.place(&pinning, workers) {
            Ok(strict) => assert_eq!(strict, placement),
            Err(error) => assert!(matches!(error, BuildError::TooFewCpus { .. })),
        }
        let worker = rng.below(workers as u64) as usize;
        let mut victims: Vec<usize> =
            topology.victims(&placement, worker).into_iter().flat_map(|group| group.workers).collect();
        victims.sort_unstable();
        assert_eq!(victims, (0..workers).filter(|index| *index != worker).collect::<Vec<_>>());
    }
    assert!((1..=usable.len()).contains(&topology.default_workers()));
}

#[cfg(target_os = "linux")]
#[test]
fn this_machine_is_read_and_recorded() {
    let here = Topology::detect();
    assert_eq!(here.source(), TopologySource::System);
    assert!(here.placement().is_empty());
    let folder = Folder::new();
    Topology::record(folder.path()).expect("it can be written");
    let recorded = read(&folder);
    assert_eq!(recorded.cpus(), here.cpus());
    assert_eq!(recorded.cores(), here.cores());
    assert_eq!(recorded.caches(), here.caches());
    assert_eq!((recorded.nodes(), recorded.quota()), (here.nodes(), here.quota()));
    assert_eq!(recorded.to_string(), here.to_string());
}

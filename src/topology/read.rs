//! Reads a topology from `/sys` and `/proc`, or from a copy of them.
//!
//! Nothing here fails for what is in a file: what is missing or makes no sense is replaced by the simplest assumption, and
//! noted. What comes out is consistent in any case: each CPU belongs to one core, and each core to one cache, node, package
//! and class.

use super::cpus::{CPU_MAX, CpuId, common, parse_ranges, sort};
use super::model::{CacheDomain, Core, CoreClass, Cpu, Node, Package, Topology, TopologySource, at_most};
use super::tree::Tree;
use super::{TopologyError, cgroup};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

const CPUS: &str = "sys/devices/system/cpu";
const NODES: &str = "sys/devices/system/node";
/// The firmware's distance from a node to itself.
const LOCAL: u32 = 10;
/// And to another one, where no file says it.
const REMOTE: u32 = 20;
/// Cores are of one class if the slower one has at least so many hundredths of the fastest's capacity: firmware gives slightly
/// different numbers to cores of one kind.
const SAME_CLASS_PERCENT: u32 = 80;
const CAPACITY_MAX: u32 = 1024;

impl Topology {
    /// Reads this machine's topology, for the calling thread: another one may have another affinity mask.
    ///
    /// Available on Linux. Elsewhere, and where nothing can be read, this is a [fall-back](TopologySource::Fallback).
    pub fn detect() -> Topology {
        let allowed = crate::sys::usable_cpus().ok().map(|cpus| cpus.into_iter().map(CpuId).collect());
        if !cfg!(target_os = "linux") {
            return fallback(allowed, "topology is read on Linux only");
        }
        let tree = Tree::new(Path::new("/"), None);
        match read(tree, TopologySource::System, allowed.clone()) {
            Ok((topology, _)) => topology,
            Err(_) => fallback(allowed, "/sys/devices/system/cpu cannot be read"),
        }
    }

    /// Reads a topology from a copy of the files that it is read from, as [`record`](Self::record) makes them, or as they stand in an
    /// image of a system. Works on every platform.
    ///
    /// # Errors
    ///
    /// If there is no list of CPUs in the folder. What else is missing is [noted](Self::notes).
    pub fn read(root: impl AsRef<Path>) -> Result<Topology, TopologyError> {
        let root = root.as_ref();
        let tree = Tree::new(root, None);
        let status = tree.text("proc/self/status").unwrap_or_default();
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).map(|list| {
            parse_ranges(list).unwrap_or_else(|| {
                tree.note(
                    "the affinity mask in /proc/self/status makes no sense: all CPUs are assumed".into(),
                );
                Vec::new()
            })
        });
        let allowed = allowed.filter(|cpus| !cpus.is_empty());
        match read(tree, TopologySource::Recorded, allowed) {
            Ok((topology, _)) => Ok(topology),
            Err(NoCpus) => Err(TopologyError::NotATree { root: root.to_owned() }),
        }
    }

    /// Writes a copy of the files that this machine's topology is read from into a folder, which is made if it is not there. They hold
    /// numbers of CPUs, caches and nodes, the affinity mask, and the names of the process's control groups.
    ///
    /// # Errors
    ///
    /// If a file cannot be written, or if the topology cannot be read on this machine.
    pub fn record(folder: impl AsRef<Path>) -> Result<(), TopologyError> {
        let folder = folder.as_ref();
        let allowed: Option<Vec<CpuId>> =
            crate::sys::usable_cpus().ok().map(|cpus| cpus.into_iter().map(CpuId).collect());
        let tree = Tree::new(Path::new("/"), Some(folder));
        if let Some(cpus) = &allowed {
            tree.write("proc/self/status", &format!("Cpus_allowed_list:\t{}\n", super::cpus::ranges(cpus)));
        }
        match read(tree, TopologySource::System, allowed) {
            Ok((_, None)) => Ok(()),
            Ok((_, Some((path, source)))) => Err(TopologyError::Record { path, source }),
            Err(NoCpus) => Err(TopologyError::NotATree { root: "/".into() }),
        }
    }
}

/// How many workers a system has that is not pinned; see [`Topology::default_workers`]. Reads no more than it takes.
pub(crate) fn default_workers() -> usize {
    // Not the standard library's count, which applies a quota by itself and rounds it down.
    let Ok(usable) = crate::sys::usable_cpus() else { return crate::sys::usable_cpu_count() };
    let usable = usable.len();
    let quota = cgroup::quota(&Tree::new(Path::new("/"), None));
    at_most(usable, quota)
}

/// There is no list of CPUs.
struct NoCpus;

type CopyError = Option<(std::path::PathBuf, std::io::Error)>;

fn read(
    tree: Tree<'_>,
    source: TopologySource,
    allowed: Option<Vec<CpuId>>,
) -> Result<(Topology, CopyError), NoCpus> {
    let online = online(&tree).ok_or(NoCpus)?;
    let usable = usable(&tree, &online, allowed);
    let mut cores = cores(&tree, &online);
    let nodes = nodes(&tree, &mut cores);
    let packages = packages(&tree, &mut cores);
    let caches = caches(&tree, &online, &mut cores);
    let classes = classes(&tree, &mut cores);
    let quota = cgroup::quota(&tree);
    let (notes, copy_error) = tree.into_notes();
    let topology = Topology {
        source,
        cpus: cpus(&cores, &usable),
        cores,
        caches,
        nodes,
        packages,
        classes,
        quota,
        notes,
        placement: vec![],
    };
    Ok((topology, copy_error))
}

/// What is assumed where nothing can be read.
fn fallback(allowed: Option<Vec<CpuId>>, why: &str) -> Topology {
    let count = std::thread::available_parallelism().map_or(1, usize::from).min(CPU_MAX as usize);
    let ids =
        allowed.filter(|cpus| !cpus.is_empty()).unwrap_or_else(|| (0..count as u32).map(CpuId).collect());
    let core = |cpu: &CpuId| Core { cpus: vec![*cpu], cache: 0, node: 0, package: 0, class: 0 };
    let cores: Vec<Core> = ids.iter().map(core).collect();
    Topology {
        source: TopologySource::Fallback,
        cpus: cpus(&cores, &ids),
        cores,
        caches: vec![CacheDomain { cpus: ids.clone(), level: None, bytes: None }],
        nodes: vec![Node { id: 0, cpus: ids.clone(), distances: vec![LOCAL] }],
        packages: vec![Package { id: 0, cpus: ids.clone() }],
        classes: vec![CoreClass { capacity: CAPACITY_MAX, cpus: ids }],
        quota: None,
        notes: vec![format!("{why}: each CPU is taken for a core, and all share one cache and one node")],
        placement: vec![],
    }
}

/// The CPUs that are online, ascending; `None` if there is no telling.
fn online(tree: &Tree<'_>) -> Option<Vec<CpuId>> {
    let listed = tree.text(&format!("{CPUS}/online")).and_then(|text| parse_ranges(&text));
    if let Some(cpus) = listed.filter(|cpus| !cpus.is_empty()) {
        return Some(cpus);
    }
    let is_online = |number: &u32| {
        // CPUs that cannot be taken offline have no such file.
        *number <= CPU_MAX && tree.value::<u32>(&format!("{CPUS}/cpu{number}/online")) != Some(0)
    };
    let cpus: Vec<CpuId> = tree.numbered(CPUS, "cpu").into_iter().filter(is_online).map(CpuId).collect();
    if cpus.is_empty() {
        return None;
    }
    tree.note(format!(
        "/{CPUS}/online cannot be read: all CPUs that have a folder there are assumed to be online"
    ));
    Some(cpus)
}

/// Those of them that the process may use.
fn usable(tree: &Tree<'_>, online: &[CpuId], allowed: Option<Vec<CpuId>>) -> Vec<CpuId> {
    let mut usable = online.to_vec();
    let limits = [("affinity mask", allowed), ("control group's cpuset", cgroup::cpuset(tree))];
    for (what, limit) in limits {
        let Some(limit) = limit else { continue };
        let left = common(&usable, &limit);
        if left.is_empty() {
            tree.note(format!("the {what} leaves no CPU that is online: it is ignored"));
        } else {
            usable = left;
        }
    }
    usable
}

/// The first of these files that holds a list with this CPU in it; only CPUs that are online.
fn list_around(tree: &Tree<'_>, online: &[CpuId], cpu: CpuId, paths: &[String]) -> Option<Vec<CpuId>> {
    let lists = paths.iter().filter_map(|path| tree.text(path)).filter_map(|text| parse_ranges(&text));
    lists.map(|list| common(online, &list)).find(|list| list.binary_search(&cpu).is_ok())
}

/// The cores, with nothing said about what they share.
fn cores(tree: &Tree<'_>, online: &[CpuId]) -> Vec<Core> {
    let mut cores: Vec<Core> = Vec::new();
    let mut taken: HashSet<CpuId> = HashSet::new();
    for &cpu in online {
        if taken.contains(&cpu) {
            continue;
        }
        let folder = format!("{CPUS}/cpu{cpu}/topology");
        let paths = ["core_cpus_list", "thread_siblings_list"].map(|name| format!("{folder}/{name}"));
        let mut cpus = list_around(tree, online, cpu, &paths).unwrap_or_else(|| {
            tree.note("the siblings of some CPUs cannot be read: each is taken for a core".into());
            vec![cpu]
        });
        // Two lists that contradict each other: the one that comes first counts.
        cpus.retain(|cpu| !taken.contains(cpu));
        taken.extend(&cpus);
        cores.push(Core { cpus, cache: 0, node: 0, package: 0, class: 0 });
    }
    cores
}

/// The CPUs of `count` groups, ascending; `group` tells which one a core belongs to.
fn grouped(cores: &[Core], count: usize, group: impl Fn(&Core) -> usize) -> Vec<Vec<CpuId>> {
    let mut groups = vec![Vec::new(); count];
    for core in cores {
        groups[group(core)].extend(&core.cpus);
    }
    groups.iter_mut().for_each(sort);
    groups
}

fn cpus(cores: &[Core], usable: &[CpuId]) -> Vec<Cpu> {
    let of_core = |(index, core): (usize, &Core)| {
        let cpu = |(thread, &id): (usize, &CpuId)| Cpu {
            id,
            usable: usable.binary_search(&id).is_ok(),
            core: index,
            thread,
        };
        core.cpus.iter().enumerate().map(cpu).collect::<Vec<_>>()
    };
    let mut cpus: Vec<Cpu> = cores.iter().enumerate().flat_map(of_core).collect();
    cpus.sort_unstable_by_key(|cpu| cpu.id);
    cpus
}

fn nodes(tree: &Tree<'_>, cores: &mut [Core]) -> Vec<Node> {
    let list_of =
        |id: u32| tree.text(&format!("{NODES}/node{id}/cpulist")).and_then(|text| parse_ranges(&text));
    let lists: Vec<(u32, Vec<CpuId>)> =
        ids_of_nodes(tree).into_iter().map(|id| (id, list_of(id).unwrap_or_default())).collect();
    // By number, in the order of which distances are given: of all nodes, also those without CPUs.
    let mut found: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut homeless = Vec::new();
    for (index, core) in cores.iter().enumerate() {
        match lists.iter().position(|(_, cpus)| cpus.binary_search(&core.cpus[0]).is_ok()) {
            Some(place) => found.entry(place).or_default().push(index),
            None => homeless.push(index),
        }
    }
    if !homeless.is_empty() {
        tree.note("the NUMA nodes of some CPUs cannot be read: they are taken to be in the first".into());
        match found.first_entry() {
            Some(mut first) => first.get_mut().extend(homeless),
            None => _ = found.insert(0, homeless),
        }
    }
    let places: Vec<usize> = found.keys().copied().collect();
    for (index, members) in found.into_values().enumerate() {
        members.into_iter().for_each(|member| cores[member].node = index);
    }
    let groups = grouped(cores, places.len(), |core| core.node);
    let node = |(index, cpus)| {
        let id = lists.get(places[index]).map_or(0, |(id, _)| *id);
        Node { id, cpus, distances: distances(tree, id, index, &places) }
    };
    groups.into_iter().enumerate().map(node).collect()
}

fn ids_of_nodes(tree: &Tree<'_>) -> Vec<u32> {
    let listed = tree.text(&format!("{NODES}/online")).and_then(|text| parse_ranges(&text));
    match listed {
        Some(ids) if !ids.is_empty() => ids.into_iter().map(|id| id.0).collect(),
        _ => tree.numbered(NODES, "node"),
    }
}

/// The distances from node `id`, number `own` of those at these places among all nodes, to each of them.
fn distances(tree: &Tree<'_>, id: u32, own: usize, places: &[usize]) -> Vec<u32> {
    let text = tree.text(&format!("{NODES}/node{id}/distance")).unwrap_or_default();
    let all: Vec<Option<u32>> = text.split_whitespace().map(|word| word.parse().ok()).collect();
    let distance = |(index, place): (usize, &usize)| {
        all.get(*place).copied().flatten().unwrap_or(if index == own { LOCAL } else { REMOTE })
    };
    if places.len() > 1 && places.iter().any(|place| all.get(*place).copied().flatten().is_none()) {
        tree.note(format!(
            "the distances of NUMA node {id} cannot be read: {LOCAL} and {REMOTE} are assumed"
        ));
    }
    places.iter().enumerate().map(distance).collect()
}

fn packages(tree: &Tree<'_>, cores: &mut [Core]) -> Vec<Package> {
    let package_of = |core: &Core| {
        let id = tree.value::<i64>(&format!("{CPUS}/cpu{}/topology/physical_package_id", core.cpus[0]));
        if id.is_none() {
            tree.note("the packages of some CPUs cannot be read: they are taken to be in package 0".into());
        }
        // -1: the firmware does not say.
        u32::try_from(id.unwrap_or(0)).unwrap_or(0)
    };
    let of_cores: Vec<u32> = cores.iter().map(package_of).collect();
    let mut ids = of_cores.clone();
    ids.sort_unstable();
    ids.dedup();
    for (core, id) in cores.iter_mut().zip(&of_cores) {
        core.package = ids.binary_search(id).unwrap_or(0);
    }
    let groups = grouped(cores, ids.len(), |core| core.package);
    ids.into_iter().zip(groups).map(|(id, cpus)| Package { id, cpus }).collect()
}

/// A cache of a CPU: its level, its size, and who shares it.
struct Cache {
    level: u32,
    bytes: Option<u64>,
    shared: Vec<CpuId>,
}

fn last_level_cache(tree: &Tree<'_>, online: &[CpuId], cpu: CpuId) -> Option<Cache> {
    let folder = format!("{CPUS}/cpu{cpu}/cache");
    let cache = |index: u32| {
        let folder = format!("{folder}/index{index}");
        if tree.text(&format!("{folder}/type")).is_some_and(|text| text.trim() == "Instruction") {
            return None;
        }
        let level = tree.value::<u32>(&format!("{folder}/level"))?;
        let shared = list_around(tree, online, cpu, &[format!("{folder}/shared_cpu_list")])?;
        let bytes = tree.text(&format!("{folder}/size")).and_then(|text| bytes_of(&text));
        Some(Cache { level, bytes, shared })
    };
    // Indices are consecutive from 0; the bound is for trees that are not.
    tree.numbered(&folder, "index").into_iter().take(16).filter_map(cache).max_by_key(|cache| cache.level)
}

/// `32768K`, `32M`, `4096`.
fn bytes_of(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match &text[digits.len()..] {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

fn caches(tree: &Tree<'_>, online: &[CpuId], cores: &mut [Core]) -> Vec<CacheDomain> {
    let mut domains: Vec<CacheDomain> = Vec::new();
    // What the lists of earlier cores have said.
    let mut known: HashMap<CpuId, usize> = HashMap::new();
    let mut without = Vec::new();
    for (index, core) in cores.iter_mut().enumerate() {
        if let Some(domain) = known.get(&core.cpus[0]) {
            core.cache = *domain;
            continue;
        }
        match last_level_cache(tree, online, core.cpus[0]) {
            Some(cache) => {
                core.cache = domains.len();
                cache.shared.iter().for_each(|cpu| _ = known.entry(*cpu).or_insert(domains.len()));
                domains.push(CacheDomain { cpus: vec![], level: Some(cache.level), bytes: cache.bytes });
            }
            None => without.push(index),
        }
    }
    if !without.is_empty() {
        tree.note(
            "the caches of some CPUs cannot be read: those of a NUMA node are taken to share one".into(),
        );
    }
    // One for each node that has such cores.
    let mut of_node: BTreeMap<usize, usize> = BTreeMap::new();
    for index in without {
        let node = cores[index].node;
        let domain = *of_node.entry(node).or_insert_with(|| {
            domains.push(CacheDomain { cpus: vec![], level: None, bytes: None });
            domains.len() - 1
        });
        cores[index].cache = domain;
    }
    // Whatever the lists said: a domain has the CPUs of its cores.
    let groups = grouped(cores, domains.len(), |core| core.cache);
    domains.iter_mut().zip(groups).for_each(|(domain, cpus)| domain.cpus = cpus);
    domains
}

fn classes(tree: &Tree<'_>, cores: &mut [Core]) -> Vec<CoreClass> {
    let capacities: Option<Vec<u32>> =
        cores.iter().map(|core| tree.value(&format!("{CPUS}/cpu{}/cpu_capacity", core.cpus[0]))).collect();
    let list =
        |name: &str| tree.text(&format!("sys/devices/{name}/cpus")).and_then(|text| parse_ranges(&text));
    let single = |cores: &[Core]| classes_of(cores, &[CAPACITY_MAX]);
    if let Some(capacities) = capacities {
        by_capacity(cores, &capacities)
    } else if let (Some(fast), Some(slow)) = (list("cpu_core"), list("cpu_atom")) {
        // Hybrid processors of Intel's, under kernels that give no capacities for them.
        let is_slow = |core: &Core| {
            slow.binary_search(&core.cpus[0]).is_ok() && fast.binary_search(&core.cpus[0]).is_err()
        };
        if cores.iter().all(is_slow) || !cores.iter().any(is_slow) {
            return single(cores);
        }
        for core in cores.iter_mut() {
            core.class = usize::from(is_slow(core));
        }
        classes_of(cores, &[0, 0])
    } else {
        single(cores)
    }
}

fn by_capacity(cores: &mut [Core], capacities: &[u32]) -> Vec<CoreClass> {
    let mut descending: Vec<u32> = capacities.to_vec();
    descending.sort_unstable_by(|a, b| b.cmp(a));
    descending.dedup();
    // The greatest capacity of each class.
    let mut greatest: Vec<u32> = Vec::new();
    for capacity in descending {
        let is_same =
            |top: &u32| u64::from(capacity) * 100 >= u64::from(*top) * u64::from(SAME_CLASS_PERCENT);
        if !greatest.last().is_some_and(is_same) {
            greatest.push(capacity);
        }
    }
    for (core, capacity) in cores.iter_mut().zip(capacities) {
        core.class = greatest.iter().rposition(|top| top >= capacity).unwrap_or(0);
    }
    classes_of(cores, &greatest)
}

fn classes_of(cores: &[Core], capacities: &[u32]) -> Vec<CoreClass> {
    let groups = grouped(cores, capacities.len(), |core| core.class);
    capacities.iter().zip(groups).map(|(capacity, cpus)| CoreClass { capacity: *capacity, cpus }).collect()
}

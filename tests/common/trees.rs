//! Trees of files as Linux shows them in `/sys` and `/proc`, of machines that are not there.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A folder that is removed when it is dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        // Thousands of small files: in memory, where there is such a folder.
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let path = parent.join(format!("ramie-tree-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary folder can be made");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file, and the folders that it is in.
    pub(crate) fn file(&self, path: &str, text: &str) -> &Self {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder can be made");
        fs::write(path, text).expect("a file can be written");
        self
    }

    /// Removes a file or a folder, if it is there.
    pub(crate) fn without(&self, path: &str) -> &Self {
        let path = self.0.join(path);
        if path.is_dir() {
            fs::remove_dir_all(path).expect("a folder can be removed");
        } else if path.exists() {
            fs::remove_file(path).expect("a file can be removed");
        }
        self
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A core: its CPUs, its package, its node, and the index of its last-level cache.
type Core = (Vec<u32>, u32, u32, usize);

/// What a machine is made of.
#[derive(Clone, Default)]
pub(crate) struct Machine {
    cores: Vec<Core>,
    /// Capacity of the cores, in the same order; empty for none.
    capacities: Vec<u32>,
    /// CPUs that are present and not online.
    offline: Vec<u32>,
    /// Distances between nodes, row by row.
    distances: Vec<Vec<u32>>,
    allowed: Option<&'static str>,
}

fn list(cpus: &[u32]) -> String {
    let words: Vec<String> = cpus.iter().map(u32::to_string).collect();
    words.join(",") + "\n"
}

impl Machine {
    /// Adds a core.
    pub(crate) fn core(mut self, cpus: &[u32], package: u32, node: u32, cache: usize) -> Self {
        self.cores.push((cpus.to_vec(), package, node, cache));
        self
    }

    /// Adds `count` cores of one package, node and cache, with the CPUs that `cpus` names for each.
    pub(crate) fn cores(
        self,
        count: u32,
        (package, node, cache): (u32, u32, usize),
        cpus: impl Fn(u32) -> Vec<u32>,
    ) -> Self {
        (0..count).fold(self, |machine, core| machine.core(&cpus(core), package, node, cache))
    }

    pub(crate) fn capacities(mut self, capacities: Vec<u32>) -> Self {
        assert_eq!(capacities.len(), self.cores.len());
        self.capacities = capacities;
        self
    }

    pub(crate) fn offline(mut self, cpus: &[u32]) -> Self {
        self.offline = cpus.to_vec();
        self
    }

    pub(crate) fn distances(mut self, rows: &[&[u32]]) -> Self {
        self.distances = rows.iter().map(|row| row.to_vec()).collect();
        self
    }

    /// The affinity mask.
    pub(crate) fn allowed(mut self, list: &'static str) -> Self {
        self.allowed = Some(list);
        self
    }

    /// Writes the tree.
    pub(crate) fn write(&self) -> Folder {
        let folder = Folder::new();
        let cpu_folder = "sys/devices/system/cpu";
        let select = |wanted: &dyn Fn(&Core) -> bool| {
            let mut cpus: Vec<u32> =
                self.cores.iter().filter(|core| wanted(core)).flat_map(|core| core.0.clone()).collect();
            cpus.sort_unstable();
            cpus
        };
        let mut online = select(&|_| true);
        online.retain(|cpu| !self.offline.contains(cpu));
        folder.file(&format!("{cpu_folder}/online"), &list(&online));
        for (index, (cpus, package, node, cache)) in self.cores.iter().enumerate() {
            for cpu in cpus {
                let own = format!("{cpu_folder}/cpu{cpu}");
                if self.offline.contains(cpu) {
                    folder.file(&format!("{own}/online"), "0\n");
                    continue;
                }
                let siblings: Vec<u32> =
                    cpus.iter().copied().filter(|cpu| !self.offline.contains(cpu)).collect();
                folder.file(&format!("{own}/topology/core_cpus_list"), &list(&siblings));
                folder.file(&format!("{own}/topology/physical_package_id"), &format!("{package}\n"));
                let caches =
                    [("Data", 1, "32K", list(&siblings)), ("Instruction", 1, "32K", list(&siblings))];
                let last = [("Unified", 3, "32768K", list(&select(&|core| core.3 == *cache)))];
                for (number, (kind, level, size, shared)) in caches.into_iter().chain(last).enumerate() {
                    let cache = format!("{own}/cache/index{number}");
                    folder.file(&format!("{cache}/type"), &format!("{kind}\n"));
                    folder.file(&format!("{cache}/level"), &format!("{level}\n"));
                    folder.file(&format!("{cache}/size"), &format!("{size}\n"));
                    folder.file(&format!("{cache}/shared_cpu_list"), &shared);
                }
                if let Some(capacity) = self.capacities.get(index) {
                    folder.file(&format!("{own}/cpu_capacity"), &format!("{capacity}\n"));
                }
                let _ = node;
            }
        }
        let mut nodes: Vec<u32> = self.cores.iter().map(|core| core.2).collect();
        nodes.sort_unstable();
        nodes.dedup();
        folder.file("sys/devices/system/node/online", &list(&nodes));
        for (row, node) in nodes.iter().enumerate() {
            let own = format!("sys/devices/system/node/node{node}");
            folder.file(&format!("{own}/cpulist"), &list(&select(&|core| core.2 == *node)));
            let default = (0..nodes.len()).map(|column| if row == column { 10 } else { 20 }).collect();
            let distances: &Vec<u32> = self.distances.get(row).unwrap_or(&default);
            let words: Vec<String> = distances.iter().map(u32::to_string).collect();
            folder.file(&format!("{own}/distance"), &(words.join(" ") + "\n"));
        }
        if let Some(allowed) = self.allowed {
            folder.file("proc/self/status", &format!("Name:\ttest\nCpus_allowed_list:\t{allowed}\n"));
        }
        folder
    }
}

/// One CPU.
pub(crate) fn one() -> Machine {
    Machine::default().core(&[0], 0, 0, 0)
}

/// Two CPUs without SMT.
pub(crate) fn two() -> Machine {
    Machine::default().cores(2, (0, 0, 0), |core| vec![core])
}

/// 8 cores, 16 threads, the siblings numbered i and i + 8.
pub(crate) fn eight_by_halves() -> Machine {
    Machine::default().cores(8, (0, 0, 0), |core| vec![core, core + 8])
}

/// The same, numbered 2i and 2i + 1.
pub(crate) fn eight_by_pairs() -> Machine {
    Machine::default().cores(8, (0, 0, 0), |core| vec![2 * core, 2 * core + 1])
}

/// Two CCDs of 8 cores with SMT, numbered i and i + 16.
pub(crate) fn two_ccds() -> Machine {
    Machine::default()
        .cores(8, (0, 0, 0), |core| vec![core, core + 16])
        .cores(8, (0, 0, 1), |core| vec![core + 8, core + 24])
}

/// Two sockets of 16 cores with SMT, a node and a cache each, numbered i and i + 32.
pub(crate) fn dual_socket() -> Machine {
    Machine::default()
        .cores(16, (0, 0, 0), |core| vec![core, core + 32])
        .cores(16, (1, 1, 1), |core| vec![core + 16, core + 48])
        .distances(&[&[10, 21], &[21, 10]])
}

/// 8 fast cores with SMT (0 to 15, by pairs) and 16 slow ones without (16 to 31), one cache.
pub(crate) fn hybrid() -> Machine {
    let machine = Machine::default().cores(8, (0, 0, 0), |core| vec![2 * core, 2 * core + 1]);
    let machine = machine.cores(16, (0, 0, 0), |core| vec![core + 16]);
    // As firmware has it: not all fast cores are the same.
    machine.capacities([[1024, 1024, 1009, 1009, 1009, 1009, 1009, 1009].as_slice(), &[560; 16]].concat())
}

/// A container on a machine of 8 CPUs: the mask is 3, 5 and 7. Its quota is in a file.
pub(crate) fn container() -> Machine {
    Machine::default().cores(8, (0, 0, 0), |core| vec![core]).allowed("3,5,7")
}

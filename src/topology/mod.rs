//! The machine's CPUs, and which worker runs on which of them.

mod cgroup;
mod cpus;
mod model;
mod pinning;
mod placement;
mod read;
pub(crate) mod tiers;
mod tree;
mod victims;

pub use cpus::CpuId;
pub(crate) use cpus::ranges;
pub use model::{CacheDomain, Core, CoreClass, Cpu, Distance, Node, Package, Topology, TopologySource};
pub use pinning::Pinning;
pub(crate) use pinning::{Plan, Reservation, background_placement, plan};
pub(crate) use read::default_workers;
pub use victims::Victims;
pub(crate) use victims::{STEAL_KINDS, StealKind, VictimTable};

use std::path::PathBuf;

/// A topology could not be read, or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// There is no list of CPUs below this folder.
    #[error("there is no list of CPUs in {root}/sys/devices/system/cpu: name a folder that `Topology::record` has written", root = root.display())]
    NotATree {
        /// The folder.
        root: PathBuf,
    },
    /// A file of a recording could not be written.
    #[error("{path} cannot be written: {source}", path = path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

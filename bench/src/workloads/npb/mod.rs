//! Three patterns of numerical programs, after the kernels EP, MG and CG of the NAS parallel benchmarks in kind, not in
//! size or detail: independent work with a small result, stencils on grids of all sizes, sparse products and dot products.
//!
//! All of them are loops over chunks, and each chunk writes what is its own. Sums are those of chunks, added up in the
//! chunks' order: the results do not depend on who did what, to the last bit, and all systems must agree.

use super::{Metric, Workers, Workload, sand::Loops};
use crate::{
    cell::Measured,
    measure::{medians, time_ns},
    params::Params,
};

mod cg;
mod ep;
mod mg;

pub(crate) static WORKLOAD: Workload = Workload {
    name: "npb",
    about: "patterns of numerical kernels: parallel loops over chunks, with sums in a fixed order",
    workers: Workers::Each,
    metrics: &[
        Metric { name: "EP", unit: "ms", about: "1,048,576 random pairs in 256 chunks, Gaussian ones counted by size" },
        Metric { name: "MG", unit: "ms", about: "4 V-cycles on 64 x 64 x 64 cells, a loop over planes for each step" },
        Metric { name: "CG", unit: "ms", about: "15 steps of conjugate gradients, 20,000 rows with 13 entries each" },
    ],
};

const REPEATS: usize = 11;

/// Times the three with the loops of a system. Call it where the system wants its loops to run.
pub(crate) fn measure(params: &Params, loops: &impl Loops) -> Measured {
    let params = params.share(3);
    let mut checksums = Vec::new();
    let mut time = |mut round: Box<dyn FnMut() -> u64 + '_>| {
        let mut checksum = 0;
        let [ns] = medians(&params, REPEATS, || [time_ns(|| checksum = round())]);
        checksums.push(format!("{checksum:016x}"));
        ns / 1e6
    };
    let mut grids = mg::Grids::new();
    let mut system = cg::System::new();
    let ep = time(Box::new(|| ep::run(loops)));
    let mg = time(Box::new(|| grids.run(loops)));
    let cg = time(Box::new(|| system.run(loops)));
    Measured::default().with("EP", ep).with("MG", mg).with("CG", cg).checked(checksums.join(" "))
}

/// Plain loops on one thread.
pub(crate) struct Plain;

impl Loops for Plain {
    fn chunks<T: Sync>(&self, items: &[T], size: usize, body: impl Fn(usize, &[T]) + Send + Sync) {
        items.chunks(size).enumerate().for_each(|(index, chunk)| body(index, chunk));
    }

    fn chunks_mut<T: Send>(&self, items: &mut [T], size: usize, body: impl Fn(usize, &mut [T]) + Send + Sync) {
        items.chunks_mut(size).enumerate().for_each(|(index, chunk)| body(index, chunk));
    }
}

/// Depends on every bit of every value, and on their order.
fn checksum(values: impl IntoIterator<Item = u64>) -> u64 {
    values.into_iter().fold(0, |sum: u64, value| sum.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(value))
}

#[cfg(test)]
mod tests;

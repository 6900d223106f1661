//! What the memory of a job costs: from the cache of the thread that spawns it, against a `Box` for each job.
//!
//! Two figures compare the allocators alone. They take 256 blocks of 128 bytes at a time, which is what a job with a closure of
//! up to 80 bytes needs, write the first word of each, and free them, oldest first: on the thread that has taken them, or on
//! another. The blocks of ramie come from `src/memory/slots.rs` itself, which is compiled into this harness, because no public
//! function does nothing else than take a block. What they leave out is the same for both: the use of the memory.
//!
//! Two more figures are whole jobs, through the public API: a job of a scope, with a closure of 48 bytes, and the same job
//! whose closure is a `Box<dyn FnOnce()>` that holds these 48 bytes, as in a system whose queues hold boxes. The second is at a
//! disadvantage that is not memory's: it has a block as well. The difference between the two is what a `Box` adds to a job.

use std::{
    hint::black_box,
    sync::mpsc::channel,
    time::Instant,
};

use super::{Metric, Workers, Workload};
use crate::{cell::Measured, measure::medians, params::Params};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "memory_jobs",
    about: "128 bytes from a worker's cache (serial: from a Box), on one thread and across two; jobs with and without a Box",
    workers: Workers::One,
    metrics: &[
        Metric { name: "own", unit: "ns", about: "a block is taken and freed by the same thread" },
        Metric { name: "across", unit: "ns", about: "a block is taken by one thread and freed by another" },
        Metric { name: "job", unit: "ns", about: "a job of a scope with 48 bytes of captures, spawned and run" },
        Metric { name: "boxed job", unit: "ns", about: "the same, with its closure in a Box" },
    ],
};

/// Jobs in a round.
pub(crate) const JOBS: usize = 1_000_000;
/// What a job captures.
pub(crate) type Captures = [u64; 6];
/// Blocks that are taken before the first is freed.
const TAKEN: usize = 256;
const BLOCKS: usize = 4_000_000 / TAKEN * TAKEN;
const REPEATS: usize = 7;

/// A thread's store of blocks.
pub(crate) trait Store {
    /// A block, which another thread may free.
    type Block: Send;

    /// The store of the calling thread.
    fn new() -> Self;
    /// Takes a block, and writes to it.
    fn take(&self, value: u64) -> Self::Block;
    fn free(&self, block: Self::Block);
}

/// Measures both ways of using a store.
pub(crate) fn measure<S: Store>(params: &Params) -> Measured {
    let [own, across] = medians(&params.share(2), REPEATS, || [own::<S>(), across::<S>()]);
    Measured::one("own", own).with("across", across)
}

fn own<S: Store>() -> f64 {
    let store = S::new();
    let mut blocks = Vec::with_capacity(TAKEN);
    let begin = Instant::now();
    for _ in 0..BLOCKS / TAKEN {
        blocks.extend((0..TAKEN as u64).map(|value| store.take(value)));
        black_box(&blocks);
        blocks.drain(..).for_each(|block| store.free(block));
    }
    begin.elapsed().as_nanos() as f64 / BLOCKS as f64
}

/// One thread takes blocks and the other frees them; lists of them go round, so that both work at once.
fn across<S: Store>() -> f64 {
    const LISTS: usize = 8;
    let (full, filled) = channel::<Vec<S::Block>>();
    let (empty, emptied) = channel::<Vec<S::Block>>();
    for _ in 0..LISTS {
        empty.send(Vec::with_capacity(TAKEN)).expect("its other end is here");
    }
    let begin = Instant::now();
    std::thread::scope(|threads| {
        threads.spawn(move || {
            let store = S::new();
            for mut list in filled {
                list.drain(..).for_each(|block| store.free(block));
                // The one who takes blocks may have taken the last.
                let _ = empty.send(list);
            }
        });
        let store = S::new();
        for _ in 0..BLOCKS / TAKEN {
            let mut list = emptied.recv().expect("the other thread sends every list back");
            list.extend((0..TAKEN as u64).map(|value| store.take(value)));
            full.send(list).expect("the other thread waits for it");
        }
        drop(full);
    });
    begin.elapsed().as_nanos() as f64 / BLOCKS as f64
}

/// Times both rounds, each of which spawns [`JOBS`] jobs that call [`body`], and waits for them.
pub(crate) fn measure_jobs(params: &Params, measured: Measured, inline: impl Fn(), boxed: impl Fn()) -> Measured {
    let time = |round: &dyn Fn()| crate::measure::time_ns(round) / JOBS as f64;
    let [job, boxed] = medians(&params.share(2), REPEATS, || [time(&inline), time(&boxed)]);
    measured.with("job", job).with("boxed job", boxed)
}

/// The captures of a job.
pub(crate) fn captures(index: usize) -> Captures {
    [index as u64; 6]
}

/// What a job does with them.
#[inline(always)]
pub(crate) fn body(captures: &Captures) {
    black_box(captures);
}

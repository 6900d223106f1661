//! The frames on rayon: a pool for frames, and one for decoders.
//!
//! rayon has no priorities. Its documentation has one pool for all that is CPU-bound, and a `ThreadPool` of its own for what must be
//! kept apart: a decoder in the frames' pool would be in the way of a frame for 5 ms, on the thread and even on the stack of a job that
//! waits. A start handler could give the second pool's threads a lower priority by a call of the operating system. That is outside of rayon,
//! and not done here; the report says what it would do.

use std::sync::{Arc, Mutex, PoisonError};

use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::Plan;
use super::assets::Decode;
use super::engine::Engine;
use super::frame::{ENTITIES, ISLANDS, LISTS, PARTS, World, region_of};
use crate::error::Failure;

/// When the lock of the map is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lock {
    /// Across the parallel loop, as on the other systems. A thread that waits for the end of the loop may steal a job that wants
    /// the same lock, and then waits for itself (rayon issue 592).
    Held,
    /// After the loop, for the result: what one has to do here.
    Released,
}

#[derive(Debug)]
pub(super) struct OnRayon {
    frames: ThreadPool,
    decoders: ThreadPool,
    world: Arc<World>,
    map: Arc<Mutex<usize>>,
    lock: Lock,
}

impl OnRayon {
    pub(super) fn new(plan: &Plan, lock: Lock) -> Result<Self, Failure> {
        let pool = |name: &'static str| {
            let builder = ThreadPoolBuilder::new().num_threads(plan.workers);
            builder.thread_name(move |index| format!("{name}-{index}")).build().map_err(|error| {
                Failure::new(format!("cannot start rayon's pools ({error}): try fewer --workers"))
            })
        };
        let world = Arc::new(World::new(plan.work));
        Ok(Self { frames: pool("frame")?, decoders: pool("decode")?, world, map: Arc::default(), lock })
    }

    fn play(&self) {
        let world = &*self.world;
        (0..ENTITIES).into_par_iter().for_each(|entity| world.animate(entity));
        (0..ISLANDS).into_par_iter().with_max_len(1).for_each(|island| {
            world.solve(island);
            region_of(island).into_iter().for_each(|region| self.rebuild(region));
        });
        rayon::scope(|s| {
            for list in 0..LISTS {
                s.spawn(move |_| world.draw(list));
            }
        });
    }

    fn rebuild(&self, region: usize) {
        let parts = || {
            let parts = (0..PARTS).into_par_iter().with_max_len(1);
            parts.for_each(|part| self.world.rebuild(region, part));
        };
        if self.lock == Lock::Released {
            parts();
        }
        let mut map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        if self.lock == Lock::Held {
            parts();
        }
        *map += 1;
    }
}

impl Engine for OnRayon {
    /// A job of rayon that waits keeps its thread.
    fn start_scripts(&self) -> Option<()> {
        None
    }

    fn frame(&self, _number: usize) {
        self.frames.install(|| self.play());
    }

    fn background(&self, decode: Decode) {
        self.decoders.spawn(move || decode.run());
    }

    fn end_scripts(&self) {}

    fn checksum(&self) -> u64 {
        self.world.checksum()
    }

    fn given(&self) -> Vec<String> {
        let threads = self.frames.current_num_threads();
        vec![
            format!(
                "a pool of {threads} threads for frames; decodes are jobs of a second pool of {threads};"
            ),
            "std::sync::Mutex; no scripts, because a job that waits would keep its thread".into(),
        ]
    }
}

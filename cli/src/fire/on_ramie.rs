//! The frames on ramie: one system, whose frames are High, whose scripts are Normal and whose decoders are Background.

use std::sync::Arc;

use ramie::sync::Mutex;
use ramie::{Builder, Counter, JobSystem, Priority, trace};

use super::Plan;
use super::assets::Decode;
use super::engine::Engine;
use super::frame::{ENTITIES, ISLANDS, LISTS, PARTS, World, region_of};
use super::scripts::{GROUPS, SCRIPTS, Scripts};
use crate::error::Failure;

/// The signal that is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dropped {
    pub(super) frame: usize,
    pub(super) list: usize,
}

#[derive(Debug)]
pub(super) struct OnRamie {
    system: JobSystem,
    world: World,
    /// How often a region was rebuilt. Held across a parallel loop.
    map: Mutex<usize>,
    scripts: Arc<Scripts>,
    /// One for each frame, and one more for each group: script groups wait for them by turns.
    turns: Arc<[Counter]>,
    frames: usize,
    dropped: Option<Dropped>,
}

impl OnRamie {
    pub(super) fn new(
        plan: &Plan,
        frames: usize,
        scripts: &Arc<Scripts>,
        builder: Builder,
        dropped: Option<Dropped>,
    ) -> Result<Self, Failure> {
        // A decoder is 5 ms that cannot be split: what Background threads are for. The kernel runs those only on
        // CPUs that are idle otherwise, so there may be as many as workers.
        let builder = builder.workers(plan.workers).background_threads(plan.workers);
        let system = builder.build().map_err(|error| {
            Failure::new(format!("cannot start the job system ({error}): try fewer --workers"))
        })?;
        Ok(Self {
            system,
            world: World::new(plan.work),
            map: Mutex::new(0),
            scripts: Arc::clone(scripts),
            turns: (0..frames + GROUPS).map(|_| Counter::new(1)).collect(),
            frames,
            dropped,
        })
    }

    /// The frame's own job. Its children inherit its priority.
    fn play(&self, number: usize) {
        let world = &self.world;
        let span = trace::span("animate");
        ramie::par(0..ENTITIES).for_each(|entity| world.animate(entity));
        drop(span);
        // A group of scripts goes on: 100 fibers.
        self.turns[number].signal();
        let span = trace::span("islands");
        ramie::par(0..ISLANDS).grain(1).for_each(|island| {
            world.solve(island);
            region_of(island).into_iter().for_each(|region| self.rebuild(region));
        });
        drop(span);
        let _span = trace::span("draw lists");
        let drawn = Counter::new(LISTS);
        ramie::scope(|s| {
            for list in 0..LISTS {
                let drawn = &drawn;
                s.job().name("draw").detach(move || {
                    world.draw(list);
                    if self.dropped != Some(Dropped { frame: number, list }) {
                        drawn.signal();
                    }
                });
            }
            drawn.wait();
        });
    }

    fn rebuild(&self, region: usize) {
        let mut map = self.map.lock();
        let _span = trace::span("navigation");
        ramie::par(0..PARTS).grain(1).for_each(|part| self.world.rebuild(region, part));
        *map += 1;
    }

    /// Every job that runs or waits.
    pub(super) fn dump(&self) -> ramie::FiberDump {
        self.system.dump()
    }
}

impl Engine for OnRamie {
    fn start_scripts(&self) -> Option<()> {
        for script in 0..SCRIPTS {
            let (scripts, turns, frames) = (Arc::clone(&self.scripts), Arc::clone(&self.turns), self.frames);
            self.system.job().name("script").detach(move || {
                scripts.start();
                for turn in (script % GROUPS..).step_by(GROUPS) {
                    turns[turn].wait();
                    if turn >= frames {
                        break;
                    }
                    scripts.turn();
                }
                scripts.end();
            });
        }
        Some(())
    }

    fn frame(&self, number: usize) {
        trace::mark_frame(number as u64);
        self.system.run(|| {
            ramie::scope(|s| s.job().name("frame").priority(Priority::High).detach(|| self.play(number)));
        });
    }

    fn background(&self, decode: Decode) {
        self.system.job().name("decode").priority(Priority::Background).detach(move || decode.run());
    }

    fn end_scripts(&self) {
        self.turns[self.frames..].iter().for_each(Counter::signal);
    }

    fn checksum(&self) -> u64 {
        self.world.checksum()
    }

    fn given(&self) -> Vec<String> {
        let stats = self.system.stats();
        let decoders = match stats.background.fallback {
            None => {
                format!("decodes are Background jobs on {} threads for idle CPUs", stats.background.threads)
            }
            Some(why) => format!("decodes are Low jobs ({why})"),
        };
        vec![
            format!("{} workers; a frame is a High job; {decoders};", self.system.workers()),
            format!("ramie::sync::Mutex; scripts are {SCRIPTS} fibers that wait for counters"),
        ]
    }
}

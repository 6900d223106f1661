//! The simulation alone, with nothing drawn: what `--no-images` runs and `--compare` compares.

use std::time::Instant;

use ramie::JobSystem;

use super::progress::Progress;
use super::times::Times;
use crate::sand::StepTimes;
use crate::sand::parallel::{self, AtomicGrid};
use crate::sand::scene::Scene;
use crate::sand::serial::{self, PlainGrid};
use crate::sand::simulation::Simulation;

/// What a simulation without pictures leaves behind.
#[derive(Debug)]
pub(crate) struct Bare {
    pub(crate) times: Times,
    pub(crate) checksum: u64,
}

/// Simulates with parallel loops on the workers of a job system.
pub(crate) fn parallel(system: &JobSystem, scene: &Scene, frame_count: u32, progress: &Progress) -> Bare {
    let mut cells = parallel::empty_cells();
    let mut grid = AtomicGrid::new(&mut cells);
    // Inside of a job, loops use the workers of its system.
    system.run(|| {
        simulate(scene, frame_count, progress, |simulation| {
            simulation.advance(|step, terrain, grains| parallel::step(step, terrain, grains, &mut grid))
        })
    })
}

/// Simulates on the calling thread.
pub(crate) fn serial(scene: &Scene, frame_count: u32, progress: &Progress) -> Bare {
    let mut grid = PlainGrid::new();
    simulate(scene, frame_count, progress, |simulation| {
        simulation.advance(|step, terrain, grains| serial::step(step, terrain, grains, &mut grid))
    })
}

fn simulate(
    scene: &Scene,
    frame_count: u32,
    progress: &Progress,
    mut advance: impl FnMut(&mut Simulation<'_>) -> StepTimes,
) -> Bare {
    let mut simulation = Simulation::new(scene);
    let mut times = Times::default();
    for _ in progress.numbers(frame_count) {
        let start = Instant::now();
        times.push_simulation(advance(&mut simulation));
        times.frame.push(start.elapsed());
        progress.advance();
    }
    Bare { times, checksum: simulation.checksum() }
}

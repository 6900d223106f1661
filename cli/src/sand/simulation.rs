//! A simulation under way: the state of its grains, and the steps that make a frame.

use super::grid;
use super::rules::Step;
use super::scene::Scene;
use super::terrain::Terrain;
use super::{Grain, STEPS_PER_FRAME, StepTimes};

/// The grains of a scene, moved frame by frame.
#[derive(Debug)]
pub(crate) struct Simulation<'scene> {
    scene: &'scene Scene,
    grains: Vec<Grain>,
    steps_done: u32,
}

impl<'scene> Simulation<'scene> {
    /// A simulation that starts with the scene's picture.
    pub(crate) fn new(scene: &'scene Scene) -> Self {
        Self { scene, grains: scene.grains.clone(), steps_done: 0 }
    }

    /// Moves the grains by one frame. `step` is [`serial::step`](super::serial::step) or
    /// [`parallel::step`](super::parallel::step) on a grid of its kind.
    pub(crate) fn advance(
        &mut self,
        mut step: impl FnMut(Step, &Terrain, &mut [Grain]) -> StepTimes,
    ) -> StepTimes {
        let mut times = StepTimes::default();
        for _ in 0..STEPS_PER_FRAME {
            times += step(Step::new(self.steps_done, self.scene.seed), &self.scene.terrain, &mut self.grains);
            self.steps_done += 1;
        }
        times
    }

    /// The checksum of the grid on which the grains lie now.
    pub(crate) fn checksum(&self) -> u64 {
        grid::checksum(&self.grains)
    }

    #[cfg(test)]
    pub(crate) fn grains(&self) -> &[Grain] {
        &self.grains
    }
}

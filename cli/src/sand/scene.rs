//! How a picture becomes sand: which grains there are, where they hang, and when each is let go.

use super::rules::mix;
use super::terrain::Terrain;
use super::{GRAINS_MAX, Grain, SIDE, STEPS_PER_FRAME};
use crate::picture::Picture;

/// The grains hang this many cells apart. A frame shows blocks of 2 x 2 cells as one pixel, so the
/// picture is seen whole, and yet there is room between the grains to fall.
const PITCH: usize = 2;

/// The part of the grid in which the picture hangs: above the pegs, clear of the edges.
const PICTURE_TOP: usize = 30;
const PICTURE_HEIGHT_MAX: usize = 620;
const PICTURE_WIDTH_MAX: usize = SIDE - 20;

/// Steps in which the whole picture is seen before the first grain is let go.
const HOLD_STEPS: u32 = 10 * STEPS_PER_FRAME;

/// Steps from the first grain let go to the last.
const RELEASE_STEPS: u32 = 90 * STEPS_PER_FRAME;

/// The share of the release that the picture's height decides; a random pattern decides the rest.
const SWEEP_SHARE: f32 = 0.68;

/// The side of the random pattern's patches, in grains.
const PATCH: usize = 28;

/// Everything that stays the same during a simulation, and its first state.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) seed: u64,
    pub(crate) terrain: Terrain,
    /// The colour of each grain, by its index.
    pub(crate) colours: Vec<[u8; 3]>,
    /// The grains before the first step.
    pub(crate) grains: Vec<Grain>,
}

impl Scene {
    /// Makes at most `grains_max` grains out of a picture. Where the picture is transparent there
    /// is no grain.
    pub(crate) fn new(picture: &Picture, grains_max: usize, seed: u64) -> Self {
        let (columns, rows) = lattice(picture.width(), picture.height(), grains_max.min(GRAINS_MAX));
        let picture = picture.resized(columns, rows);
        let left = (SIDE - columns * PITCH) / 2;
        let top = PICTURE_TOP + (PICTURE_HEIGHT_MAX - rows * PITCH) / 2;
        let salt = mix(seed as u32 ^ mix((seed >> 32) as u32));

        let mut scene = Self { seed, terrain: Terrain::new(), colours: Vec::new(), grains: Vec::new() };
        for row in 0..rows {
            for column in 0..columns {
                let [red, green, blue, alpha] = picture.pixel(column, row);
                if alpha < 128 {
                    continue;
                }
                let cell = ((top + row * PITCH) * SIDE + left + column * PITCH) as u32;
                let height = 1.0 - row as f32 / rows as f32;
                let wait = SWEEP_SHARE * height + (1.0 - SWEEP_SHARE) * pattern(salt, column, row);
                let release = HOLD_STEPS + (wait * RELEASE_STEPS as f32) as u32;
                scene.colours.push([red, green, blue]);
                let at_rest = Grain { cell, target: cell, rows_moved: 0, columns_moved: 0, release: 0 };
                scene.grains.push(Grain { release: release as u16, ..at_rest });
            }
        }
        scene
    }
}

/// Columns and rows of the largest lattice with the proportions of the picture that has at most
/// `grains_max` grains and fits into its part of the grid.
fn lattice(width: usize, height: usize, grains_max: usize) -> (usize, usize) {
    let (width, height) = (width as f64, height as f64);
    let by_count = (grains_max as f64 / (width * height)).sqrt();
    let by_width = (PICTURE_WIDTH_MAX / PITCH) as f64 / width;
    let by_height = (PICTURE_HEIGHT_MAX / PITCH) as f64 / height;
    let scale = by_count.min(by_width).min(by_height);
    // A picture of extreme proportions would round to no grain at all in one direction; in the
    // other direction it then needs a limit of its own.
    let columns = ((width * scale) as usize).max(1);
    let rows = ((height * scale) as usize).max(1);
    (columns.min(grains_max), rows.min(grains_max))
}

/// A smooth random pattern from 0 to 1 with some grit in it: the picture crumbles in patches with
/// ragged edges. No function whose last bit depends on the machine is used.
fn pattern(salt: u32, column: usize, row: usize) -> f32 {
    let unit = |word: u32| (word >> 8) as f32 / (1 << 24) as f32;
    let corner = |x: usize, y: usize| unit(mix(salt ^ mix((y as u32) << 16 | x as u32)));
    let (x, y) = (column / PATCH, row / PATCH);
    let smooth = |position: usize| {
        let t = (position % PATCH) as f32 / PATCH as f32;
        t * t * (3.0 - 2.0 * t)
    };
    let (right, down) = (smooth(column), smooth(row));
    let above = corner(x, y) * (1.0 - right) + corner(x + 1, y) * right;
    let below = corner(x, y + 1) * (1.0 - right) + corner(x + 1, y + 1) * right;
    let grit = unit(mix(!salt ^ mix((row as u32) << 16 | column as u32)));
    0.8 * (above * (1.0 - down) + below * down) + 0.2 * grit
}

#[cfg(test)]
mod tests;

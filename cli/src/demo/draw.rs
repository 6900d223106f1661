//! Draws the grid: 2 x 2 cells become one pixel.

use ramie::Frame;

use crate::sand::SIDE;
use crate::sand::grid::{WALL, grain_index};
use crate::sand::parallel::AtomicGrid;
use crate::sand::scene::Scene;

/// Cells in each direction that make one pixel.
const CELLS_PER_PIXEL: usize = 2;

/// Pixels in a row, and rows in the picture.
pub(crate) const FRAME_SIDE: usize = SIDE / CELLS_PER_PIXEL;

/// Rows of pixels in one part of the drawing loop.
const ROWS_PER_CHUNK: usize = 10;

const BACKGROUND: [u8; 3] = [16, 17, 26];
const STONE: [u8; 3] = [74, 78, 92];

/// Bytes of a picture: rows from the top, three bytes a pixel.
const PICTURE_BYTES: usize = FRAME_SIDE * FRAME_SIDE * 3;

/// Shrinks a picture to half its width and height, in the frame's memory.
pub(crate) fn halve<'frame>(frame: &'frame Frame, picture: &[u8]) -> &'frame [u8] {
    let row_bytes = FRAME_SIDE * 3;
    frame.alloc_slice_fill_with(PICTURE_BYTES / 4, |index| {
        let (row, column) = (index / (row_bytes / 2), index % (row_bytes / 2));
        let corner = 2 * row * row_bytes + column / 3 * 6 + column % 3;
        let block = [corner, corner + 3, corner + row_bytes, corner + row_bytes + 3];
        (block.map(|at| u16::from(picture[at])).iter().sum::<u16>() / 4) as u8
    })
}

/// Draws the grid, in the frame's memory. Rows are independent of each other, so this is a parallel
/// loop again.
pub(crate) fn draw<'frame>(frame: &'frame Frame, grid: &AtomicGrid<'_>, scene: &Scene) -> &'frame [u8] {
    let row_bytes = FRAME_SIDE * 3;
    let picture = frame.alloc_slice_fill_with(PICTURE_BYTES, |_| 0);
    ramie::par_chunks_mut(picture, ROWS_PER_CHUNK * row_bytes).for_each(|(chunk_index, chunk)| {
        let first = chunk_index * ROWS_PER_CHUNK;
        for (row, pixels) in (first..).zip(chunk.chunks_exact_mut(row_bytes)) {
            for (column, pixel) in pixels.chunks_exact_mut(3).enumerate() {
                pixel.copy_from_slice(&colour(grid, scene, column, row));
            }
        }
    });
    picture
}

/// The mean colour of the grains in a block of cells; stone or background where there are none.
fn colour(grid: &AtomicGrid<'_>, scene: &Scene, column: usize, row: usize) -> [u8; 3] {
    let corner = row * CELLS_PER_PIXEL * SIDE + column * CELLS_PER_PIXEL;
    let mut sums = [0_u16; 3];
    let mut grain_count = 0;
    let mut empty = BACKGROUND;
    for cell in [corner, corner + 1, corner + SIDE, corner + SIDE + 1] {
        let word = grid.load(cell);
        if let Some(index) = grain_index(word) {
            grain_count += 1;
            for (sum, channel) in sums.iter_mut().zip(scene.colours[index]) {
                *sum += u16::from(channel);
            }
        } else if word == WALL {
            empty = STONE;
        }
    }
    if grain_count == 0 { empty } else { sums.map(|sum| (sum / grain_count) as u8) }
}

//! Draws the grid: 2 x 2 cells become one pixel.

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

/// A picture of the grid: rows from the top, three bytes a pixel.
#[derive(Debug)]
pub(crate) struct Canvas {
    pub(crate) bytes: Vec<u8>,
}

impl Canvas {
    pub(crate) fn new() -> Self {
        Self { bytes: vec![0; FRAME_SIDE * FRAME_SIDE * 3] }
    }
}

/// Shrinks a picture to half its width and height, over whatever `half` holds.
pub(crate) fn halve(canvas: &Canvas, half: &mut Vec<u8>) {
    let row_bytes = FRAME_SIDE * 3;
    half.clear();
    for rows in canvas.bytes.chunks_exact(2 * row_bytes) {
        let (upper, lower) = rows.split_at(row_bytes);
        for (above, below) in upper.chunks_exact(6).zip(lower.chunks_exact(6)) {
            half.extend((0..3).map(|channel| {
                let block = [above[channel], above[channel + 3], below[channel], below[channel + 3]];
                (block.map(u16::from).iter().sum::<u16>() / 4) as u8
            }));
        }
    }
}

/// Draws the grid over whatever the canvas holds. Rows are independent of each other, so this is a
/// parallel loop again.
pub(crate) fn draw(grid: &AtomicGrid, scene: &Scene, canvas: &mut Canvas) {
    let row_bytes = FRAME_SIDE * 3;
    ramie::par_chunks_mut(&mut canvas.bytes, ROWS_PER_CHUNK * row_bytes).for_each(|(chunk_index, chunk)| {
        let first = chunk_index * ROWS_PER_CHUNK;
        for (row, pixels) in (first..).zip(chunk.chunks_exact_mut(row_bytes)) {
            for (column, pixel) in pixels.chunks_exact_mut(3).enumerate() {
                pixel.copy_from_slice(&colour(grid, scene, column, row));
            }
        }
    });
}

/// The mean colour of the grains in a block of cells; stone or background where there are none.
fn colour(grid: &AtomicGrid, scene: &Scene, column: usize, row: usize) -> [u8; 3] {
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

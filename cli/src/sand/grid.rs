//! What the word in a cell of the grid means, and the checksum of a grid.
//!
//! ```text
//!   0 .. GRAINS_MAX            the grain with this index lies here
//!   WALL                       nothing ever moves here
//!   FREE_BIT | rank            free, and claimed by the grain with this rank (rules::Step::rank)
//!   EMPTY                      free, and not claimed; larger than every claim
//! ```
//!
//! A claim keeps the top bit, so a cell that was free when the step was marked reads as free during
//! the whole step, whoever claims it meanwhile. This is what makes the wishes independent of their
//! order. And because `EMPTY` is the largest word, "the lowest rank wins" is a plain minimum.

use super::{CELL_COUNT, GRAINS_MAX, Grain};

/// Set in the words of cells that were free when the step was marked.
pub(crate) const FREE_BIT: u32 = 1 << 31;

/// The word of a free cell that nobody claims.
pub(crate) const EMPTY: u32 = u32::MAX;

/// The word of a cell that nothing enters.
pub(crate) const WALL: u32 = FREE_BIT - 1;

// A grain's index is never mistaken for a wall, nor a cell's number for more than 32 bits.
const _: () = assert!(GRAINS_MAX < WALL as usize && CELL_COUNT < FREE_BIT as usize);

/// Whether the cell with this word was free when the step was marked.
pub(crate) fn is_free(word: u32) -> bool {
    word & FREE_BIT != 0
}

/// The index of the grain that lies in the cell with this word, if one does.
pub(crate) fn grain_index(word: u32) -> Option<usize> {
    (word < WALL).then_some(word as usize)
}

/// A checksum (64-bit FNV-1a, a word at a time) of the grid on which these grains lie: of every
/// occupied cell, in the order of the cells, and the grain in it.
///
/// # Panics
/// If two grains lie in one cell.
pub(crate) fn checksum(grains: &[Grain]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let mut cells = vec![EMPTY; CELL_COUNT];
    for (index, grain) in grains.iter().enumerate() {
        let before = std::mem::replace(&mut cells[grain.cell as usize], index as u32);
        assert_eq!(before, EMPTY, "grains {before} and {index} lie in the same cell");
    }
    let occupied = cells.iter().enumerate().filter(|&(_, &word)| word != EMPTY);
    occupied.fold(OFFSET, |hash, (cell, &word)| {
        let hash = (hash ^ cell as u64).wrapping_mul(PRIME);
        (hash ^ u64::from(word)).wrapping_mul(PRIME)
    })
}

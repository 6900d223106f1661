//! Independent work: pairs of random numbers become pairs of Gaussian ones, which are counted by their size.

use super::{checksum, super::sand::Loops};

const CHUNKS: usize = 256;
const PAIRS_PER_CHUNK: usize = 4_096;
/// Sizes that are told apart: from 0 to 1, from 1 to 2, and so on.
const SIZES: usize = 10;

pub(super) fn run(loops: &impl Loops) -> u64 {
    let mut counts = vec![[0_u64; SIZES]; CHUNKS];
    loops.chunks_mut(&mut counts, 1, |chunk, counts| counts[0] = count(chunk));
    let mut all = [0; SIZES];
    for counts in &counts {
        all.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    checksum(all)
}

/// How many Gaussian numbers of each size a chunk has.
fn count(chunk: usize) -> [u64; SIZES] {
    let mut state = (chunk as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // From -1 to 1, by the upper 53 bits.
        (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    };
    let mut counts = [0; SIZES];
    for _ in 0..PAIRS_PER_CHUNK {
        let (x, y) = (next(), next());
        let square = x * x + y * y;
        if 0.0 < square && square <= 1.0 {
            let scale = (-2.0 * square.ln() / square).sqrt();
            let size = (x * scale).abs().max((y * scale).abs()) as usize;
            counts[size.min(SIZES - 1)] += 1;
        }
    }
    counts
}

//! The blocks that no frame uses, and how many there are in all.

use super::block::{Block, Chain, HEADER_BYTES};
use std::alloc::Layout;

/// The memory of oversize blocks has a power of two of bytes: a vector that doubles finds room in each.
const CLASS_COUNT: usize = usize::BITS as usize;

/// See the [module](self). Behind the arenas' lock.
#[derive(Debug)]
pub(super) struct Pool {
    /// By who used them last: the workers, and then everybody else.
    plain: Box<[Chain]>,
    /// By the logarithm of the bytes of their memory.
    oversize: [Chain; CLASS_COUNT],
    pub(super) plain_count: Count,
    pub(super) oversize_count: Count,
    /// Of all blocks, whoever has them.
    pub(super) reserved_bytes: usize,
}

/// Blocks of one kind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count {
    pub(super) all: usize,
    pub(super) pooled: usize,
}

impl Pool {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            plain: (0..=workers).map(|_| Chain::default()).collect(),
            oversize: std::array::from_fn(|_| Chain::default()),
            plain_count: Count::default(),
            oversize_count: Count::default(),
            reserved_bytes: 0,
        }
    }

    /// An ordinary block, if there is one: rather one that `home` has used, whose memory is near its CPU.
    pub(super) fn take_plain(&mut self, home: usize) -> Option<Block> {
        if self.plain_count.pooled == 0 {
            return None;
        }
        let block = self.plain[home].pop().or_else(|| self.plain.iter_mut().find_map(Chain::pop))?;
        self.plain_count.pooled -= 1;
        Some(block)
    }

    /// A block of this many bytes, which [`oversize_bytes`] has given, if there is one.
    pub(super) fn take_oversize(&mut self, bytes: usize) -> Option<Block> {
        let block = self.oversize[class_of(bytes)].pop()?;
        self.oversize_count.pooled -= 1;
        Some(block)
    }

    /// A new block was made, and is in use.
    pub(super) fn count_new(&mut self, bytes: usize, oversize: bool) {
        self.count_mut(oversize).all += 1;
        self.reserved_bytes += bytes;
    }

    /// `home` does not need it any more.
    pub(super) fn give_back(&mut self, block: Block, home: usize) {
        let oversize = block.is_oversize();
        self.count_mut(oversize).pooled += 1;
        match oversize {
            true => self.oversize[class_of(block.bytes())].push(block),
            false => self.plain[home].push(block),
        }
    }

    /// A block to be freed, until there is none.
    pub(super) fn evict(&mut self) -> Option<Block> {
        let block = self.plain.iter_mut().chain(&mut self.oversize).find_map(Chain::pop)?;
        let count = self.count_mut(block.is_oversize());
        count.pooled -= 1;
        count.all -= 1;
        self.reserved_bytes -= block.bytes();
        Some(block)
    }

    fn count_mut(&mut self, oversize: bool) -> &mut Count {
        if oversize { &mut self.oversize_count } else { &mut self.plain_count }
    }
}

fn class_of(bytes: usize) -> usize {
    let memory_bytes = bytes - HEADER_BYTES;
    debug_assert!(memory_bytes.is_power_of_two());
    memory_bytes.trailing_zeros() as usize
}

/// How much memory of a block this layout needs at most, wherever the block begins; `None` if no block is that large.
pub(super) fn needed_bytes(layout: Layout) -> Option<usize> {
    layout.size().checked_add(layout.align().saturating_sub(super::block::BLOCK_ALIGN))
}

/// The bytes of the oversize block for such a need; `None` if no block is that large.
pub(super) fn oversize_bytes(needed: usize) -> Option<usize> {
    let bytes = needed.checked_next_power_of_two()?.checked_add(HEADER_BYTES)?;
    (bytes <= isize::MAX as usize).then_some(bytes)
}

#[cfg(test)]
mod tests;

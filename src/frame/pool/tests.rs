//! What the pool gives to whom.
#![cfg(not(any(loom, shuttle)))]

use super::{Pool, needed_bytes, oversize_bytes};
use crate::frame::block::{Block, HEADER_BYTES};
use std::alloc::Layout;

const BLOCK_BYTES: usize = 4096;

fn plain(pool: &mut Pool) -> Block {
    pool.count_new(BLOCK_BYTES, false);
    Block::allocate(BLOCK_BYTES, false).expect("there is memory")
}

fn at(block: &Block) -> usize {
    block.memory().addr().get()
}

#[test]
fn a_worker_gets_its_own_block_first_and_any_other_then() {
    let mut pool = Pool::new(2);
    let blocks: Vec<Block> = (0..3).map(|_| plain(&mut pool)).collect();
    let places: Vec<usize> = blocks.iter().map(at).collect();
    blocks.into_iter().enumerate().for_each(|(home, block)| pool.give_back(block, home));
    let mut taken = Vec::new();
    for (asked, expected) in [(1, 1), (1, 0), (2, 2)] {
        let block = pool.take_plain(asked).expect("there is one left");
        assert_eq!(at(&block), places[expected]);
        taken.push(block);
    }
    assert!(pool.take_plain(0).is_none());
    assert_eq!((pool.plain_count.all, pool.plain_count.pooled), (3, 0));
    taken.into_iter().for_each(|block| pool.give_back(block, 0));
    assert_eq!(pool.plain_count.pooled, 3);
}

#[test]
fn oversize_blocks_serve_their_own_size() {
    let mut pool = Pool::new(1);
    pool.count_new((1 << 14) + HEADER_BYTES, true);
    pool.give_back(Block::allocate((1 << 14) + HEADER_BYTES, true).expect("there is memory"), 0);
    assert!(pool.take_oversize((1 << 13) + HEADER_BYTES).is_none());
    assert!(pool.take_oversize((1 << 15) + HEADER_BYTES).is_none());
    assert!(pool.take_plain(0).is_none());
    let block = pool.take_oversize((1 << 14) + HEADER_BYTES).expect("there is one");
    pool.give_back(block, 1);
    assert_eq!((pool.oversize_count.all, pool.oversize_count.pooled), (1, 1));
}

#[test]
fn eviction_empties_the_pool_and_counts_what_is_in_use() {
    let mut pool = Pool::new(1);
    let kept = plain(&mut pool);
    let given = plain(&mut pool);
    pool.give_back(given, 1);
    pool.count_new((1 << 13) + HEADER_BYTES, true);
    pool.give_back(Block::allocate((1 << 13) + HEADER_BYTES, true).expect("there is memory"), 0);
    assert_eq!(pool.reserved_bytes, 2 * BLOCK_BYTES + (1 << 13) + HEADER_BYTES);
    while let Some(block) = pool.evict() {
        block.free();
    }
    assert_eq!(pool.reserved_bytes, BLOCK_BYTES);
    assert_eq!((pool.plain_count.all, pool.plain_count.pooled), (1, 0));
    assert_eq!((pool.oversize_count.all, pool.oversize_count.pooled), (0, 0));
    pool.give_back(kept, 0);
}

#[test]
fn needs_leave_room_for_any_alignment_and_do_not_overflow() {
    let need = |bytes, align| Layout::from_size_align(bytes, align).ok().and_then(needed_bytes);
    assert_eq!(need(100, 64), Some(100));
    assert_eq!(need(100, 128), Some(164));
    assert_eq!(need(isize::MAX as usize, 1), Some(isize::MAX as usize));
    assert_eq!(oversize_bytes(4096), Some(4096 + HEADER_BYTES));
    assert_eq!(oversize_bytes(4097), Some(8192 + HEADER_BYTES));
    assert_eq!(oversize_bytes(isize::MAX as usize), None);
    assert_eq!(oversize_bytes(usize::MAX), None);
}

//! ramie's pooled memory by itself: its own source files, with one type of slots.
#![expect(unsafe_code, reason = "implements and uses slots")]

#[path = "../../src/memory/magazine.rs"]
pub(crate) mod magazine;
#[expect(dead_code, unexpected_cfgs, reason = "the file of another crate, of which a part is used")]
#[path = "../../src/memory/node.rs"]
pub(crate) mod node;
#[expect(dead_code, reason = "the file of another crate, of which a part is used")]
#[path = "../../src/memory/prefetch.rs"]
pub(crate) mod prefetch;
#[expect(dead_code, unexpected_cfgs, reason = "the file of another crate, of which a part is used")]
#[path = "../../src/memory/slots.rs"]
pub(crate) mod slots;

pub(crate) mod caches {
    //! In place of ramie's file of this name.

    /// The caches of one thread.
    #[derive(Default)]
    pub(crate) struct Caches {
        pub(super) blocks: super::slots::Cache,
    }

    impl Drop for Caches {
        fn drop(&mut self) {
            self.blocks.give_all_back(&super::BLOCKS);
        }
    }
}

use std::cell::Cell;

use caches::Caches;
use node::{Kind, Node};
use slots::{Cache, Depot, Slot};

use crate::workloads::memory_jobs::Store;

static BLOCKS: Depot = Depot::new();

/// As large as a job with up to 80 bytes of captures.
#[repr(C, align(128))]
pub(crate) struct Block {
    node: Node,
    value: Cell<u64>,
    rest: [Cell<u64>; 13],
}

const _: () = assert!(size_of::<Block>() == 128);

// SAFETY: a block is used by whoever has taken it.
unsafe impl Sync for Block {}

// SAFETY: 1. `repr(C)` with the node first. 2. Blocks are not moved or freed. 3. `BLOCKS` serves this type alone. 4. As given.
unsafe impl Slot for Block {
    fn vacant(id: u32) -> Self {
        Self { node: Node::new(Kind::Job, id), value: Cell::new(0), rest: Default::default() }
    }

    fn depot() -> &'static Depot {
        &BLOCKS
    }

    fn cache(caches: &Caches) -> &Cache {
        &caches.blocks
    }
}

impl Store for Caches {
    type Block = &'static Block;

    fn new() -> Self {
        Self::default()
    }

    #[inline]
    fn take(&self, value: u64) -> &'static Block {
        let block = Block::cache(self).alloc::<Block>();
        block.value.set(value);
        block
    }

    #[inline]
    fn free(&self, block: &'static Block) {
        // SAFETY: taken above, by this thread or another, and freed once.
        unsafe { Block::cache(self).free(block) };
    }
}

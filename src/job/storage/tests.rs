use super::{BLOCK_ALIGN_MAX, CLASS_BYTES, CLASS_COUNT, alloc, free_class, place};
use crate::memory::caches::Caches;
use std::alloc::Layout;

/// What stands before a body: a header, or a header and extras.
const BEFORE_BYTES: [usize; 3] = [48, 104, 120];

fn block_align(class: usize) -> usize {
    CLASS_BYTES[class].min(BLOCK_ALIGN_MAX)
}

#[test]
fn bodies_are_in_bounds_and_aligned_in_the_smallest_block_that_holds_them() {
    for before in BEFORE_BYTES {
        for align in (0..=13).map(|bits| 1 << bits) {
            for size in (0..=17_000).step_by(align.clamp(8, 64)) {
                let body = Layout::from_size_align(size, align).expect("a small layout");
                let Some((class, offset)) = place(before, body) else {
                    let padded = before.next_multiple_of(align) + size;
                    assert!(align > BLOCK_ALIGN_MAX || padded > CLASS_BYTES[CLASS_COUNT - 1]);
                    continue;
                };
                assert!(offset >= before && offset % align == 0);
                assert!(offset + size <= CLASS_BYTES[class]);
                assert!(size == 0 || align <= block_align(class), "{size} bytes aligned to {align}");
                assert!(class == 0 || offset + size > CLASS_BYTES[class - 1]);
            }
        }
    }
}

#[test]
fn a_body_of_up_to_8192_bytes_fits_whatever_its_alignment() {
    for before in BEFORE_BYTES {
        for align in (0..=12).map(|bits| 1 << bits) {
            let body = Layout::from_size_align(8192, align).expect("a small layout");
            assert!(place(before, body).is_some(), "aligned to {align}, behind {before} bytes");
        }
    }
    let too_much = Layout::from_size_align(8192, 8192).expect("a small layout");
    assert_eq!(place(48, too_much), None);
}

#[test]
fn blocks_are_aligned_to_their_size_and_do_not_overlap() {
    let caches = Caches::default();
    for (class, bytes) in CLASS_BYTES.into_iter().enumerate() {
        let blocks: Vec<_> = (0..300).map(|_| alloc(&caches, class)).collect();
        for block in &blocks {
            assert_eq!(block.node_ptr().addr() % block_align(class), 0, "a block of {bytes} bytes");
            // SAFETY: the block is this test's, and as large as its class.
            unsafe { block.at::<u8>(48).write_bytes(0xA5, bytes - 48) };
            assert!(!block.header().state.snapshot().is_live(), "a neighbour has written into this header");
        }
        for block in blocks {
            // SAFETY: allocated above with this class, and used by nobody.
            unsafe { free_class(&caches, block, class) };
        }
    }
}

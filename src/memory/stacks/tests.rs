use super::*;
use std::collections::HashSet;

/// A class that no other test uses: sizes tell classes apart, and tests share a process.
fn class(pages: usize) -> &'static StackClass {
    StackClass::of(pages * unix::page_bytes())
}

fn touch(address: usize) {
    // SAFETY: the tests pass addresses of stacks that they hold.
    unsafe { std::ptr::with_exposed_provenance_mut::<u8>(address).write_volatile(1) };
}

fn resident_bytes(class: &StackClass, stack: &StackMemory) -> usize {
    let (low, end) = class.extent(stack.id);
    let mut pages = vec![0; (end - low) / unix::page_bytes()];
    assert!(unix::resident(low, end - low, &mut pages));
    pages.iter().filter(|page| **page & 1 == 1).count() * unix::page_bytes()
}

#[test]
fn classes_are_found_again() {
    let bytes = 61 * unix::page_bytes();
    assert!(ptr::eq(StackClass::of(bytes), StackClass::of(bytes - 1)));
    assert!(!ptr::eq(StackClass::of(bytes), StackClass::of(bytes + 1)));
    assert_eq!(StackClass::of(bytes - 1).stack_bytes, bytes);
}

#[test]
fn stacks_do_not_overlap_and_have_their_size() {
    let class = class(5);
    let mut stacks = Vec::new();
    while stacks.len() < 300 {
        class.take(class.batch(), &mut stacks).expect("address space");
    }
    let ids: HashSet<u32> = stacks.iter().map(|stack| stack.id).collect();
    assert_eq!(ids.len(), stacks.len());
    let mut extents: Vec<_> = stacks.iter().map(|stack| (class.limit(stack), stack.base())).collect();
    extents.sort_unstable();
    for (low, base) in &extents {
        assert_eq!(base % 64, 0);
        assert!(base - (low + unix::page_bytes()) >= class.stack_bytes);
    }
    for pair in extents.windows(2) {
        assert!(pair[0].1 <= pair[1].0);
    }
    let colours: HashSet<usize> = stacks.iter().map(|stack| stack.base() % unix::page_bytes()).collect();
    assert_eq!(colours.len(), COLOUR_COUNT);
    for stack in &stacks {
        let place = stack_at(stack.base() - 1).expect("it is in a slab");
        assert_eq!(place.low, class.limit(stack));
        assert_eq!(place.stack_bytes, class.stack_bytes);
        assert_eq!(stack_at(place.low), Some(place));
        assert_eq!(stack_at(place.end - 1), Some(place));
        assert_ne!(stack_at(place.end), Some(place));
    }
    class.give(stacks.into_iter(), false);
}

#[test]
fn an_address_elsewhere_is_in_no_stack() {
    let here = 0_u8;
    assert_eq!(stack_at(ptr::from_ref(&here).addr()), None);
    assert_eq!(stack_at(0), None);
    assert_eq!(stack_at(usize::MAX), None);
}

#[test]
fn memory_of_stacks_that_are_not_kept_is_given_back_and_the_depth_is_remembered() {
    let class = class(9);
    let mut stacks = Vec::new();
    class.take(1, &mut stacks).expect("address space");
    let stack = stacks.pop().expect("one was taken");
    touch(stack.base() - 1);
    touch(stack.base() - 1 - 4 * unix::page_bytes());
    assert_eq!(resident_bytes(class, &stack), 2 * unix::page_bytes());
    let usage = class.usage();
    assert_eq!(usage.made_count, 1);
    assert_eq!(usage.high_water_bytes, 5 * unix::page_bytes());
    let id = stack.id;
    class.give(std::iter::once(stack), false);
    class.take(1, &mut stacks).expect("it is free");
    let stack = stacks.pop().expect("one was taken");
    assert_eq!(stack.id, id);
    assert_eq!(resident_bytes(class, &stack), 0);
    assert_eq!(class.usage().high_water_bytes, 5 * unix::page_bytes());
    touch(stack.base() - 1);
    class.give(std::iter::once(stack), true);
    class.take(1, &mut stacks).expect("it is free");
    assert_eq!(resident_bytes(class, &stacks[0]), unix::page_bytes());
    class.give(stacks.into_iter(), false);
}

#[test]
fn only_so_many_free_stacks_keep_their_memory() {
    let class = class(3);
    let mut stacks = Vec::new();
    while stacks.len() < WARM_MAX + 100 {
        class.take(GUARD_BATCH, &mut stacks).expect("address space");
    }
    let count = stacks.len();
    stacks.iter().for_each(|stack| touch(stack.base() - 1));
    class.give(stacks.into_iter(), true);
    let mut stacks = Vec::new();
    while stacks.len() < count {
        class.take(count - stacks.len(), &mut stacks).expect("they are free");
    }
    assert_eq!(stacks.len(), count);
    assert_eq!(class.usage().made_count, count, "none was made");
    let warm = stacks.iter().filter(|stack| resident_bytes(class, stack) > 0).count();
    assert_eq!(warm, WARM_MAX);
    class.give(stacks.into_iter(), false);
}

/// Threads take and give at random; a stack is never in two hands, which each stack's own first word shows.
#[test]
fn threads_share_the_free_lists() {
    const THREADS: usize = 4;
    let class = class(2);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                let mut mine: Vec<StackMemory> = Vec::new();
                let mut random = thread as u64 + 1;
                for round in 0..20_000_u64 {
                    random = random.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
                    if random >> 33 & 1 == 0 && mine.len() < 50 {
                        let before = mine.len();
                        class.take(1 + (random >> 40 & 3) as usize, &mut mine).expect("address space");
                        for stack in &mine[before..] {
                            let word = std::ptr::with_exposed_provenance_mut::<u64>(stack.base() - 8);
                            // SAFETY: the stack is this thread's.
                            unsafe { word.write_volatile(thread as u64) };
                        }
                    } else if let Some(stack) = mine.pop() {
                        let word = std::ptr::with_exposed_provenance::<u64>(stack.base() - 8);
                        // SAFETY: the stack is this thread's.
                        assert_eq!(unsafe { word.read_volatile() }, thread as u64);
                        class.give(std::iter::once(stack), round % 3 > 0);
                    }
                }
                class.give(mine.into_iter(), true);
            });
        }
    });
    assert!(class.usage().made_count <= THREADS * (50 + GUARD_BATCH));
}

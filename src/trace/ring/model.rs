//! A ring whose writer laps its reader.

use super::Ring;
use crate::primitives::explore;
use loom::sync::Arc;

fn event(n: u64) -> [u64; 4] {
    [n, n + 100, n + 200, n + 300]
}

#[test]
fn model_what_is_read_of_a_ring_was_written_so() {
    explore(3, || {
        let ring = Arc::new(Ring::new(2));
        let writer = ring.clone();
        let writer = loom::thread::spawn(move || (0..4).for_each(|n| writer.push(event(n))));
        let (mut events, mut next, mut lost) = (Vec::new(), 0, 0);
        for _ in 0..2 {
            let (then, overwritten) = ring.read(next, &mut events);
            (next, lost) = (then, lost + overwritten);
        }
        writer.join().unwrap();
        let (end, overwritten) = ring.read(next, &mut events);
        assert_eq!(end, 4);
        assert_eq!(events.len() as u64 + lost + overwritten, 4, "none is missing or read twice");
        assert!(events.iter().all(|read| *read == event(read[0])), "{events:?}");
        assert!(events.is_sorted());
        assert_eq!(events.last(), Some(&event(3)), "the newest is there");
    });
}

use super::Ring;
use std::sync::atomic::{AtomicBool, Ordering};

fn event(n: u64) -> [u64; 4] {
    [n, n.wrapping_mul(3), !n, n.rotate_left(32)]
}

#[test]
fn the_oldest_are_overwritten_and_counted() {
    let ring = Ring::new(8);
    let mut events = Vec::new();
    assert_eq!(ring.read(0, &mut events), (0, 0));
    (0..5).for_each(|n| ring.push(event(n)));
    assert_eq!(ring.read(0, &mut events), (5, 0));
    (5..30).for_each(|n| ring.push(event(n)));
    assert_eq!(ring.read(5, &mut events), (30, 17));
    let numbers: Vec<u64> = events.iter().map(|event| event[0]).collect();
    assert_eq!(numbers, (0..5).chain(22..30).collect::<Vec<_>>());
}

#[test]
fn a_reader_beside_a_fast_writer_sees_whole_events() {
    let (ring, ended) = (Ring::new(64), AtomicBool::new(false));
    let count = 300_000;
    std::thread::scope(|threads| {
        threads.spawn(|| {
            (0..count).for_each(|n| ring.push(event(n)));
            ended.store(true, Ordering::SeqCst);
        });
        let (mut next, mut lost, mut read) = (0, 0, 0);
        let mut events = Vec::new();
        loop {
            let was_ended = ended.load(Ordering::SeqCst);
            let (then, overwritten) = ring.read(next, &mut events);
            (next, lost, read) = (then, lost + overwritten, read + events.len() as u64);
            assert!(events.iter().all(|read| *read == event(read[0])));
            events.clear();
            if was_ended {
                break;
            }
        }
        assert_eq!((next, lost + read), (count, count));
    });
}

use super::Deadlines;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

#[test]
fn values_come_out_in_the_order_of_their_deadlines() {
    let begin = Instant::now();
    let mut deadlines = Deadlines::new();
    for ms in [5, 3, 9, 3, 1, 7] {
        deadlines.insert(begin + Duration::from_millis(ms), ms);
    }
    let mut out = Vec::new();
    while let Some((at, key)) = deadlines.first() {
        let ms = deadlines.remove(key).expect("it is in");
        assert_eq!(at, begin + Duration::from_millis(ms));
        out.push(ms);
    }
    assert_eq!(out, [1, 3, 3, 5, 7, 9]);
}

#[test]
fn a_value_is_taken_out_once_and_its_place_is_used_again() {
    let begin = Instant::now();
    let mut deadlines = Deadlines::new();
    let first = deadlines.insert(begin, "first");
    assert_eq!(deadlines.remove(first), Some("first"));
    assert_eq!(deadlines.remove(first), None);
    let second = deadlines.insert(begin, "second");
    assert_eq!((second.place, deadlines.entries.len()), (first.place, 1));
    assert_eq!(deadlines.remove(first), None, "the key of another value at the same place");
    assert_eq!(deadlines.remove(second), Some("second"));
    assert_eq!(deadlines.len(), 0);
}

/// Random insertions and removals, beside an ordered map.
#[test]
fn it_agrees_with_an_ordered_map() {
    let begin = Instant::now();
    let mut deadlines = Deadlines::new();
    let mut map = BTreeMap::new();
    let mut keys = Vec::new();
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    for step in 0..50_000_u64 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        if random % 3 > 0 && keys.len() < 300 || keys.is_empty() {
            let at = begin + Duration::from_millis(random >> 32 & 0xff);
            let key = deadlines.insert(at, step);
            map.insert((at, key.number), step);
            keys.push((at, key));
        } else if random % 2 == 0 {
            let (at, key) = keys.swap_remove((random >> 8) as usize % keys.len());
            assert_eq!(deadlines.remove(key), map.remove(&(at, key.number)));
        } else {
            let (at, key) = deadlines.first().expect("it is not empty");
            let ((least, number), value) = map.pop_first().expect("it is not empty");
            assert_eq!((at, key.number), (least, number));
            assert_eq!(deadlines.remove(key), Some(value));
            keys.retain(|(_, other)| *other != key);
        }
        assert_eq!(deadlines.len(), map.len());
    }
    assert!(deadlines.entries.len() <= 300);
}

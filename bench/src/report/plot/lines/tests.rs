use super::*;

#[test]
fn sizes_are_read_from_names() {
    assert_eq!(size_of("saxpy 10k"), Some(("saxpy", 10_000.0)));
    assert_eq!(size_of("batch 100"), Some(("batch", 100.0)));
    assert_eq!(size_of("saxpy 10M"), Some(("saxpy", 10_000_000.0)));
    assert_eq!(size_of("parked p50"), None);
    assert_eq!(size_of("join"), None);
    assert_eq!(size_of("low share"), None);
}

#[test]
fn labels_do_not_overlap_and_stay_in_the_picture() {
    let heights = spread(vec![10.0, 11.0, 12.0, 99.0, 100.0], 100.0);
    assert!(heights.windows(2).all(|pair| pair[1] - pair[0] >= LABEL_HEIGHT), "{heights:?}");
    assert_eq!((heights[0], heights[4]), (10.0, 100.0));
}

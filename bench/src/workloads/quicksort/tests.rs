use super::*;
use crate::fork::Serial;

#[test]
fn it_sorts_as_the_standard_library_does() {
    let mut sorted = numbers();
    let mut expected = sorted.clone();
    quicksort::<Serial>(&mut (), &mut sorted);
    expected.sort_unstable();
    assert_eq!(sorted, expected);
}

#[test]
fn a_partition_has_its_pivot_between_its_parts() {
    for mut numbers in [vec![5, 1, 4, 2, 3], vec![1, 1, 1], vec![3, 2], vec![2, 9, 1, 9, 0, 9]] {
        let pivot = partition(&mut numbers);
        assert!(numbers[..pivot].iter().all(|number| *number < numbers[pivot]), "{numbers:?}");
        assert!(numbers[pivot..].iter().all(|number| *number >= numbers[pivot]), "{numbers:?}");
    }
}

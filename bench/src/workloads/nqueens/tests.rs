use super::*;
use crate::fork::Serial;

#[test]
fn small_boards_have_the_known_numbers_of_placements() {
    assert_eq!(placements::<1, Serial>(&mut (), [0; 1], 0, 1), 1);
    assert_eq!(placements::<3, Serial>(&mut (), [0; 3], 0, 0b111), 0);
    assert_eq!(placements::<6, Serial>(&mut (), [0; 6], 0, 0b11_1111), 4);
    assert_eq!(placements::<8, Serial>(&mut (), [0; 8], 0, 0b1111_1111), 92);
}

#[test]
fn the_lowest_bits_are_the_lowest_that_are_set() {
    assert_eq!(lowest(0b1011_0100, 2), 0b1_0100);
    assert_eq!(lowest(0b11, 1), 0b1);
}

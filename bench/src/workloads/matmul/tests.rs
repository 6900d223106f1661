use super::*;
use crate::fork::Serial;

/// Where the element in this row and column lies.
fn position(row: usize, column: usize) -> usize {
    let (tile_row, tile_column) = (row / TILE, column / TILE);
    let bits = usize::BITS as usize / 2;
    let tile = (0..bits).fold(0, |tile, bit| {
        tile | (tile_row >> bit & 1) << (2 * bit + 1) | (tile_column >> bit & 1) << (2 * bit)
    });
    tile * TILE_ELEMENTS + row % TILE * TILE + column % TILE
}

#[test]
fn the_product_is_that_of_the_definition() {
    let side = 4 * TILE;
    let (a, b) = (matrix(side, 1), matrix(side, 2));
    let mut c = vec![0.0; side * side];
    multiply_add::<Serial>(&mut (), &mut c, &a, &b);
    for row in 0..side {
        for column in 0..side {
            let sum: f32 = (0..side).map(|k| a[position(row, k)] * b[position(k, column)]).sum();
            assert_eq!(c[position(row, column)], sum, "row {row}, column {column}");
        }
    }
}

#[test]
fn every_element_has_a_place_of_its_own() {
    let side = 4 * TILE;
    let mut places: Vec<_> = (0..side * side).map(|index| position(index / side, index % side)).collect();
    places.sort_unstable();
    assert!(places.into_iter().eq(0..side * side));
}

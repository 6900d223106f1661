//! Where the walls are.

use super::*;

#[test]
fn the_edges_are_walls() {
    let terrain = Terrain::new();
    let whole_row = std::slice::from_ref(&(0..SIDE));
    assert_eq!(terrain.walls(0), whole_row);
    assert_eq!(terrain.walls(SIDE - 1), whole_row);
    for row in 1..SIDE - 1 {
        let walls = terrain.walls(row);
        assert_eq!((walls[0].start, walls[walls.len() - 1].end), (0, SIDE));
    }
}

#[test]
fn a_peg_is_round() {
    let terrain = Terrain::new();
    let (x, y, radius) = PEGS[0];
    let (x, y, radius) = (x as usize, y as usize, radius as usize);
    assert!(terrain.walls(y).contains(&(x - radius..x + radius + 1)));
    assert!(terrain.walls(y - radius).contains(&(x..x + 1)));
}

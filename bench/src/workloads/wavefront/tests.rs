use super::*;

/// The distance by the definition, in one table.
fn distance(texts: &[Vec<u8>; 2]) -> u32 {
    let mut above: Vec<u32> = (0..=texts[1].len() as u32).collect();
    for (row, down) in texts[0].iter().enumerate() {
        let mut here = vec![row as u32 + 1];
        for (column, across) in texts[1].iter().enumerate() {
            let changed = above[column] + u32::from(across != down);
            here.push(changed.min(here[column] + 1).min(above[column + 1] + 1));
        }
        above = here;
    }
    *above.last().unwrap()
}

#[test]
fn blocks_compute_what_one_table_does() {
    let grid = Grid::new(3);
    let expected = distance(&grid.texts);
    for _ in 0..2 {
        grid.reset();
        (0..grid.len()).for_each(|block| grid.compute(block));
        assert_eq!(grid.distance(), expected);
    }
}

#[test]
fn the_counts_hand_out_every_block_once_and_in_order() {
    let grid = Grid::new(4);
    grid.reset();
    let (mut ready, mut done) = (vec![0], vec![false; grid.len()]);
    while let Some(block) = ready.pop() {
        assert!(grid.predecessors(block).into_iter().flatten().all(|before| done[before]));
        assert!(!std::mem::replace(&mut done[block], true));
        ready.extend(grid.finish(block).into_iter().flatten());
    }
    assert!(done.into_iter().all(|done| done));
}

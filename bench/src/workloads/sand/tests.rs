use super::*;

/// Chunks in a foreign order: what wins must not depend on it.
struct Backwards;

impl Loops for Backwards {
    fn chunks<T: Sync>(&self, items: &[T], size: usize, body: impl Fn(usize, &[T]) + Send + Sync) {
        items.chunks(size).enumerate().rev().for_each(|(index, chunk)| body(index, chunk));
    }

    fn chunks_mut<T: Send>(&self, items: &mut [T], size: usize, body: impl Fn(usize, &mut [T]) + Send + Sync) {
        items.chunks_mut(size).enumerate().rev().for_each(|(index, chunk)| body(index, chunk));
    }
}

#[test]
fn the_order_of_the_chunks_does_not_matter() {
    let (side, grains, steps) = (200, 9_000, 120);
    let start = Scene::new(side, grains, steps / 2);
    let (mut serial, mut parallel) = (start.clone(), start.clone());
    let mut grid = vec![EMPTY; side * side];
    let mut atomic_grid: Vec<_> = (0..side * side).map(|_| AtomicU32::new(EMPTY)).collect();
    for number in 0..steps {
        serial_step(Step::new(number), &mut serial, &mut grid);
        parallel_step(&Backwards, Step::new(number), &mut parallel, &mut atomic_grid);
        assert_eq!(serial.checksum(), parallel.checksum(), "step {number}");
    }
    assert_ne!(start.checksum(), serial.checksum(), "nothing has moved");
}

use super::*;

/// Runs the chunks of each loop from the last to the first.
struct Backwards;

impl Loops for Backwards {
    fn chunks<T: Sync>(&self, items: &[T], size: usize, body: impl Fn(usize, &[T]) + Send + Sync) {
        let chunks: Vec<_> = items.chunks(size).enumerate().collect();
        chunks.into_iter().rev().for_each(|(index, chunk)| body(index, chunk));
    }

    fn chunks_mut<T: Send>(&self, items: &mut [T], size: usize, body: impl Fn(usize, &mut [T]) + Send + Sync) {
        let chunks: Vec<_> = items.chunks_mut(size).enumerate().collect();
        chunks.into_iter().rev().for_each(|(index, chunk)| body(index, chunk));
    }
}

#[test]
fn the_order_of_the_chunks_does_not_matter_and_runs_are_alike() {
    assert_eq!(ep::run(&Plain), ep::run(&Backwards));
    let mut grids = mg::Grids::new();
    assert_eq!(grids.run(&Plain), grids.run(&Backwards));
    let mut system = cg::System::new();
    assert_eq!(system.run(&Plain), system.run(&Backwards));
}

#[test]
fn what_is_left_over_grows_small() {
    let mut grids = mg::Grids::new();
    let begin = grids.left_over();
    grids.run(&Plain);
    assert!(grids.left_over() < begin / 1_000.0, "from {begin} to {}", grids.left_over());
    let mut system = cg::System::new();
    system.run(&Plain);
    assert!(system.left_over() < 1e-4, "{}", system.left_over());
}

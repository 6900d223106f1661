use super::*;

/// Visits a node and all below it; returns how many jobs that takes.
fn visit(node: Node<'_>) -> usize {
    let mut jobs = 1;
    node.visit(|child| jobs += visit(child));
    jobs
}

#[test]
fn each_world_is_the_parents_times_the_local() {
    // A root with two children of two children each, in the order of the walk.
    let parents = [None, Some(0), Some(1), Some(1), Some(0), Some(4), Some(4)];
    let locals: Vec<Matrix> = (0..parents.len()).map(local).collect();
    let mut worlds = vec![[[f32::NAN; 4]; 4]; parents.len()];
    let jobs = visit(Node { parent: IDENTITY, locals: &locals, worlds: &mut worlds, branching: 2 });
    assert_eq!(jobs, 3);
    for (index, parent) in parents.into_iter().enumerate() {
        let above = parent.map_or(IDENTITY, |parent: usize| worlds[parent]);
        assert_eq!(worlds[index], product(&above, &locals[index]), "node {index}");
    }
}

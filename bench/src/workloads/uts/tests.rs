use super::*;
use crate::fork::Serial;

#[test]
fn a_search_by_a_list_counts_the_same() {
    for shape in [Shape::Geometric, Shape::Binomial] {
        let mut found = Counts { nodes: 0, leaves: 0, depth: 0 };
        let mut left = vec![shape.root()];
        while let Some(node) = left.pop() {
            let children = shape.children(node);
            let leaves = u64::from(children == 0);
            found = found.and(Counts { nodes: 1, leaves, depth: node.depth });
            left.extend((0..children).map(|index| node.child(index)));
        }
        assert_eq!(found, shape.expected());
    }
}

#[test]
fn joins_count_a_tree_completely() {
    let shape = Shape::Geometric;
    assert_eq!(count::<Serial>(&mut (), shape, shape.root()), shape.expected());
}

//! Unbalanced tree search: counts the nodes of trees that nobody knows before they are searched, because each
//! node's number of children comes out of a hash of the way to it.
//!
//! The two shapes are those of the UTS benchmark, at about a quarter of its size: T1, whose nodes have a
//! geometrically distributed number of children down to a fixed depth, and T3, whose nodes have eight children
//! or, mostly, none, so that one subtree in a thousand is larger than all others together, and deep. UTS splits
//! its random numbers by SHA-1; here a shorter hash is repeated until it takes about as long, some 90 ns a node.
//! The trees are therefore not those of UTS, and the counts cannot be compared with published ones.

use std::{hint::black_box, ops::Range};

use super::{Metric, Workers, Workload};
use crate::{
    cell::Measured,
    fork::ForkJoin,
    measure::{medians, time_ns},
    params::Params,
    random::{mix, word},
};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "uts",
    about: "unbalanced trees of about a million nodes are counted, by join over the children of each node",
    workers: Workers::Each,
    metrics: &[
        Metric { name: "T1", unit: "ms", about: "geometric: 1,000,348 nodes, up to 9 levels deep" },
        Metric { name: "T3", unit: "ms", about: "binomial: 969,521 nodes, up to 941 levels deep" },
    ],
};

/// How often a node's hash is scrambled, which is most of the work at a node.
const SCRAMBLES: u32 = 24;
/// Levels below the root of the geometric tree.
const GEOMETRIC_DEPTH: u32 = 9;
/// The mean number of children above the last level of the geometric tree.
const GEOMETRIC_MEAN: f64 = 4.0;
const GEOMETRIC_SEED: u64 = 44;
/// Children of the binomial tree's root.
const BINOMIAL_ROOT: usize = 2_000;
/// Children of its other nodes, if they have any.
const BINOMIAL_CHILDREN: usize = 8;
/// The chance that they have any; 8 times this is just below 1, so that the tree ends.
const BINOMIAL_CHANCE: f64 = 0.124_875;
const BINOMIAL_SEED: u64 = 3;

/// How many children nodes have.
#[derive(Clone, Copy, Debug)]
enum Shape {
    Geometric,
    Binomial,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    hash: u64,
    depth: u32,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counts {
    nodes: u64,
    leaves: u64,
    depth: u32,
}

impl Counts {
    fn and(self, other: Counts) -> Counts {
        let Counts { nodes, leaves, depth } = other;
        Counts { nodes: self.nodes + nodes, leaves: self.leaves + leaves, depth: self.depth.max(depth) }
    }
}

impl Shape {
    fn root(self) -> Node {
        let seed = match self {
            Shape::Geometric => GEOMETRIC_SEED,
            Shape::Binomial => BINOMIAL_SEED,
        };
        Node { hash: mix(seed), depth: 0 }
    }

    fn expected(self) -> Counts {
        match self {
            Shape::Geometric => Counts { nodes: 1_000_348, leaves: 800_202, depth: 9 },
            Shape::Binomial => Counts { nodes: 969_521, leaves: 848_580, depth: 941 },
        }
    }

    fn children(self, node: Node) -> usize {
        // The upper 53 bits, as a fraction of one.
        let chance = (node.hash >> 11) as f64 / (1_u64 << 53) as f64;
        match self {
            Shape::Geometric if node.depth >= GEOMETRIC_DEPTH => 0,
            Shape::Geometric => ((1.0 - chance).ln() / (1.0 - 1.0 / (1.0 + GEOMETRIC_MEAN)).ln()) as usize,
            Shape::Binomial if node.depth == 0 => BINOMIAL_ROOT,
            Shape::Binomial if chance < BINOMIAL_CHANCE => BINOMIAL_CHILDREN,
            Shape::Binomial => 0,
        }
    }
}

impl Node {
    fn child(self, index: usize) -> Node {
        let first = word(self.hash, index as u64);
        Node { hash: (0..SCRAMBLES).fold(first, |hash, _| mix(hash)), depth: self.depth + 1 }
    }
}

fn count<F: ForkJoin>(context: &mut F::Context<'_>, shape: Shape, node: Node) -> Counts {
    match shape.children(node) {
        0 => Counts { nodes: 1, leaves: 1, depth: node.depth },
        children => {
            let below = count_children::<F>(context, shape, node, 0..children);
            Counts { nodes: below.nodes + 1, ..below }
        }
    }
}

fn count_children<F: ForkJoin>(
    context: &mut F::Context<'_>,
    shape: Shape,
    node: Node,
    children: Range<usize>,
) -> Counts {
    if children.len() == 1 {
        return count::<F>(context, shape, node.child(children.start));
    }
    let middle = children.start + children.len() / 2;
    let (left, right) = F::join(
        context,
        |context| count_children::<F>(context, shape, node, children.start..middle),
        |context| count_children::<F>(context, shape, node, middle..children.end),
    );
    left.and(right)
}

/// Times both trees. Call it where the system wants its joins to run.
pub(crate) fn measure<F: ForkJoin>(params: &Params, context: &mut F::Context<'_>) -> Measured {
    let ms = medians(params, 5, || {
        [Shape::Geometric, Shape::Binomial].map(|shape| {
            let mut counts = None;
            let ns = time_ns(|| counts = Some(count::<F>(context, shape, black_box(shape.root()))));
            assert_eq!(counts, Some(shape.expected()), "uts is wrong");
            ns / 1e6
        })
    });
    Measured::one("T1", ms[0]).with("T3", ms[1])
}

#[cfg(test)]
mod tests;

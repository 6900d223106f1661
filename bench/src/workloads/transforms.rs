//! Hierarchies of transforms: each node's matrix in the world is its parent's times its own.
//!
//! A node that has children is a job; nodes without are done by their parent's. The nodes lie in the order of a walk that visits a node before its children, so that each subtree is a slice, and jobs
//! share out the slices of the result.

use super::{Metric, Workers, Workload, par_for::repeated_us};
use crate::{cell::Measured, params::Params};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "transforms",
    about: "a hierarchy of 4 x 4 matrices, parent times local, a job for each node with children",
    workers: Workers::Each,
    metrics: &[
        Metric { name: "depth 4, branching 4", unit: "us", about: "a traversal of 341 nodes, 85 of them jobs" },
        Metric { name: "depth 6, branching 3", unit: "us", about: "a traversal of 1,093 nodes, 364 of them jobs" },
        Metric { name: "depth 8, branching 2", unit: "us", about: "a traversal of 511 nodes, 255 of them jobs" },
    ],
};

/// Depth and branching of the hierarchies, in the order of the metrics.
const HIERARCHIES: [(u32, usize); 3] = [(4, 4), (6, 3), (8, 2)];

/// A matrix of four rows.
pub(crate) type Matrix = [[f32; 4]; 4];

/// A node with all that is below it.
#[derive(Debug)]
pub(crate) struct Node<'a> {
    parent: Matrix,
    /// The matrices of the node and of all below it, and where the results go.
    locals: &'a [Matrix],
    worlds: &'a mut [Matrix],
    branching: usize,
}

impl<'a> Node<'a> {
    /// The whole body of a node's job: `spawn` spawns jobs that do the same for the node that it is handed.
    pub(crate) fn visit(self, mut spawn: impl FnMut(Node<'a>)) {
        let Node { parent, locals, worlds, branching } = self;
        let (world, below) = worlds.split_first_mut().expect("a subtree has a node");
        *world = product(&parent, &locals[0]);
        let parent = *world;
        if below.is_empty() {
            return;
        }
        let size = below.len() / branching;
        for (locals, worlds) in locals[1..].chunks_exact(size).zip(below.chunks_exact_mut(size)) {
            if size == 1 {
                worlds[0] = product(&parent, &locals[0]);
            } else {
                spawn(Node { parent, locals, worlds, branching });
            }
        }
    }
}

/// Times `traverse`, which runs a job that visits the node, and returns when all jobs have ended. Call it where the
/// system wants its jobs to be spawned.
pub(crate) fn measure(params: &Params, mut traverse: impl FnMut(Node<'_>)) -> Measured {
    let params = params.share(HIERARCHIES.len());
    let mut measured = Measured::default();
    let mut checksums = Vec::new();
    for (metric, (depth, branching)) in WORKLOAD.metrics.iter().zip(HIERARCHIES) {
        let count = (0..=depth).map(|level| branching.pow(level)).sum();
        let locals: Vec<Matrix> = (0..count).map(local).collect();
        let mut worlds = vec![[[f32::NAN; 4]; 4]; count];
        let us = repeated_us(&params, |times| {
            for _ in 0..times {
                traverse(Node { parent: IDENTITY, locals: &locals, worlds: &mut worlds, branching });
            }
        });
        measured = measured.with(metric.name, us);
        checksums.push(format!("{:08x}", checksum(&worlds)));
    }
    measured.checked(checksums.join(" "))
}

const IDENTITY: Matrix = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]];

/// A node's own matrix: a turn about the z axis and a step.
fn local(index: usize) -> Matrix {
    let (sin, cos) = (index as f32 * 0.37).sin_cos();
    [[cos, -sin, 0.0, 1.0], [sin, cos, 0.0, 0.5], [0.0, 0.0, 1.0, 0.25], [0.0, 0.0, 0.0, 1.0]]
}

fn product(left: &Matrix, right: &Matrix) -> Matrix {
    std::array::from_fn(|row| {
        std::array::from_fn(|column| (0..4).map(|inner| left[row][inner] * right[inner][column]).sum())
    })
}

/// Depends on every bit of every matrix, and on their order.
fn checksum(worlds: &[Matrix]) -> u32 {
    let bits = worlds.iter().flatten().flatten().map(|value| value.to_bits());
    bits.fold(0, |sum: u32, bits| sum.wrapping_mul(31).wrapping_add(bits))
}

#[cfg(test)]
mod tests;

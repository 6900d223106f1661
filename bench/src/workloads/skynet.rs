//! A tree of jobs, ten children each, whose million leaves are added up: jobs that have results, and wait for
//! those of others.

use std::hint::black_box;

use super::{Metric, Workers, Workload};
use crate::{cell::Measured, fork::ForkJoin, measure::ns_per_op, params::Params};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "skynet",
    about: "a tree of jobs with ten children each, which return the sum of 1,000,000 leaves",
    workers: Workers::Each,
    metrics: &[Metric { name: "job", unit: "ns", about: "a job of 1,111,111, leaves included" }],
};

/// Children of a job that is not a leaf.
pub(crate) const CHILDREN: usize = 10;
const LEAVES: u64 = 1_000_000;
/// The sum of all numbers below [`LEAVES`], each of which is a leaf's.
const SUM: u64 = 499_999_500_000;
/// Leaves and the jobs above them.
const JOBS: u64 = 1_111_111;

/// A job's share of the leaves: so many, from the first on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    first: u64,
    leaves: u64,
}

impl Share {
    /// The result, if this is a leaf.
    pub(crate) fn leaf(self) -> Option<u64> {
        (self.leaves == 1).then_some(self.first)
    }

    /// What is left to the child with this index.
    pub(crate) fn child(self, index: usize) -> Share {
        let leaves = self.leaves / CHILDREN as u64;
        Share { first: self.first + index as u64 * leaves, leaves }
    }
}

/// The sum, by a join for each split of ten children into halves.
pub(crate) fn by_join<F: ForkJoin>(context: &mut F::Context<'_>, share: Share) -> u64 {
    fn children<F: ForkJoin>(context: &mut F::Context<'_>, share: Share, from: usize, to: usize) -> u64 {
        if to - from == 1 {
            return by_join::<F>(context, share.child(from));
        }
        let middle = from.midpoint(to);
        let (left, right) = F::join(
            context,
            |context| children::<F>(context, share, from, middle),
            |context| children::<F>(context, share, middle, to),
        );
        left + right
    }
    match share.leaf() {
        Some(number) => number,
        None => children::<F>(context, share, 0, CHILDREN),
    }
}

/// A form of the tree, with its name: it returns the sum of a share.
pub(crate) type Form<'a> = (&'a str, &'a dyn Fn(Share) -> u64);

/// Times all forms. Call it where the system wants its jobs to run.
pub(crate) fn measure(params: &Params, forms: &[Form<'_>]) -> Measured {
    let ns = |form: &dyn Fn(Share) -> u64| {
        ns_per_op(params, 3, JOBS, || {
            let all = black_box(Share { first: 0, leaves: LEAVES });
            assert_eq!(form(all), SUM, "skynet is wrong");
        })
    };
    let figures = forms.iter().map(|(name, form)| (name.to_string(), ns(form)));
    Measured::default().with_best("job", figures.collect())
}

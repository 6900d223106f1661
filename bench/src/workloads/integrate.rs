//! A polynomial is integrated by halving intervals until the trapezia fit, by `join` without a cutoff: a
//! recursion whose shape depends on what is computed.

use std::hint::black_box;

use super::{Metric, Workers, Workload};
use crate::{cell::Measured, fork::ForkJoin, measure::ns_per_op, params::Params};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "integrate",
    about: "an integral by halving intervals until they fit, by join, without a cutoff",
    workers: Workers::Each,
    metrics: &[Metric { name: "join", unit: "ns", about: "a join; serial: a pair of recursive calls" }],
};

const FROM: f64 = 0.0;
const TO: f64 = 1_000.0;
/// An interval fits if halving it changes its area by no more than this.
const EPSILON: f64 = 1e-7;
/// Joins in a round: one for each interval that does not fit.
const JOINS: u64 = 1_753_285;

fn curve(x: f64) -> f64 {
    (x * x + 1.0) * x
}

/// Both ends of an interval, with the curve's values there, and the area of the trapezium between them.
#[derive(Clone, Copy)]
struct Interval {
    from: f64,
    from_y: f64,
    to: f64,
    to_y: f64,
    area: f64,
}

impl Interval {
    fn new((from, from_y): (f64, f64), (to, to_y): (f64, f64)) -> Interval {
        Interval { from, from_y, to, to_y, area: (to - from) * (from_y + to_y) / 2.0 }
    }

    fn whole() -> Interval {
        Interval::new((FROM, curve(FROM)), (TO, curve(TO)))
    }

    fn halves(self) -> (Interval, Interval) {
        let middle = f64::midpoint(self.from, self.to);
        let point = (middle, curve(middle));
        (Interval::new((self.from, self.from_y), point), Interval::new(point, (self.to, self.to_y)))
    }
}

fn integrate<F: ForkJoin>(context: &mut F::Context<'_>, interval: Interval) -> f64 {
    let (left, right) = interval.halves();
    let area = left.area + right.area;
    if (area - interval.area).abs() <= EPSILON {
        return area;
    }
    let (left, right) = F::join(
        context,
        |context| integrate::<F>(context, left),
        |context| integrate::<F>(context, right),
    );
    left + right
}

/// Times the integral. Call it where the system wants its joins to run.
pub(crate) fn measure<F: ForkJoin>(params: &Params, context: &mut F::Context<'_>) -> Measured {
    let mut area = 0.0;
    let ns = ns_per_op(params, 7, JOINS, || area = integrate::<F>(context, black_box(Interval::whole())));
    // The sums are added up in the same order by all systems, so that they are equal to the last bit.
    Measured::one("join", ns).checked(format!("{:016x}", area.to_bits()))
}

#[cfg(test)]
mod tests;

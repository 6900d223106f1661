//! A picture of the Mandelbrot set: a loop over rows whose costs differ by a factor of a hundred and lie far
//! apart from each other.

use super::{Metric, Workers, Workload, sand::Loops};
use crate::{
    cell::Measured,
    measure::{medians, time_ns},
    params::Params,
    random::checksum,
};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "mandelbrot",
    about: "a loop over the 600 rows of a picture of the Mandelbrot set, a row at a time",
    workers: Workers::Each,
    metrics: &[Metric { name: "picture", unit: "ms", about: "800 x 600 points, at most 500 steps each" }],
};

const WIDTH: usize = 800;
const HEIGHT: usize = 600;
/// A point that has not got away after so many steps belongs to the set.
const STEPS_MAX: u32 = 500;
/// What the picture shows: from the left, and from the top.
const LEFT: f64 = -2.2;
const TOP: f64 = -1.2;
const POINT: f64 = 2.4 / HEIGHT as f64;

fn draw_row(row: usize, points: &mut [u32]) {
    let y = TOP + row as f64 * POINT;
    for (column, point) in points.iter_mut().enumerate() {
        *point = steps(LEFT + column as f64 * POINT, y);
    }
}

/// How many steps it takes until a point gets away.
fn steps(x: f64, y: f64) -> u32 {
    let (mut a, mut b) = (0.0, 0.0);
    for step in 0..STEPS_MAX {
        let (a_squared, b_squared) = (a * a, b * b);
        if a_squared + b_squared > 4.0 {
            return step;
        }
        b = 2.0 * a * b + y;
        a = a_squared - b_squared + x;
    }
    STEPS_MAX
}

/// Times the picture with the loop of a system. Call it where the system wants its loops to run.
pub(crate) fn measure(params: &Params, loops: &impl Loops) -> Measured {
    let mut picture = vec![0; WIDTH * HEIGHT];
    let [ns] = medians(params, 5, || [time_ns(|| loops.chunks_mut(&mut picture, WIDTH, draw_row))]);
    let checksum = checksum(picture.iter().copied().map(u64::from));
    Measured::one("picture", ns / 1e6).checked(format!("{checksum:016x}"))
}

#[cfg(test)]
mod tests;

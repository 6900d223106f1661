//! More parallel loops: saxpy from a hundred elements, where nothing is to be gained, to a hundred million, where
//! memory decides; and a loop with a heavy body.
//!
//! As in [`par_for`](super::par_for), a system may be measured in several forms, of which the best counts.

use std::{fs, hint::black_box};

use super::{
    Metric, Workers, Workload,
    par_for::{SaxpyForm, repeated_us, saxpy_us},
};
use crate::{cell::Measured, params::Params};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "par_for_sizes",
    about: "loops over f32 arrays of further sizes, y += a * x, and with a body of 200 x (v = sin v + cos v)",
    workers: Workers::Each,
    metrics: &[
        Metric { name: "saxpy 100", unit: "us", about: "a loop over 100 elements" },
        Metric { name: "saxpy 1k", unit: "us", about: "a loop over 1,000 elements" },
        Metric { name: "saxpy 10M", unit: "us", about: "a loop over 10,000,000 elements" },
        Metric { name: "saxpy 100M", unit: "us", about: "a loop over 100,000,000 elements, not in a quick run" },
        Metric { name: "heavy 10", unit: "us", about: "a loop over 10 elements, of which each takes some us" },
        Metric { name: "heavy 100", unit: "us", about: "a loop over 100 elements, of which each takes some us" },
        Metric { name: "heavy 1k", unit: "us", about: "a loop over 1,000 elements, of which each takes some us" },
    ],
};

const SAXPY: [(&str, usize); 4] =
    [("saxpy 100", 100), ("saxpy 1k", 1_000), ("saxpy 10M", 10_000_000), ("saxpy 100M", 100_000_000)];
const HEAVY: [(&str, usize); 3] = [("heavy 10", 10), ("heavy 100", 100), ("heavy 1k", 1_000)];
/// Arrays longer than this are only measured where there is time and memory.
const LENGTH_USUAL: usize = 10_000_000;
/// What the two arrays of a loop need for each element.
const BYTES_PER_ELEMENT: u64 = 8;
/// The longest arrays are only measured if a cell has at least so much time.
const SECONDS_FOR_LONG: f64 = 1.5;
const HEAVY_STEPS: usize = 200;

/// A form of the loop with the heavy body: its name, and a loop that calls [`heavy`] for all elements.
pub(crate) type HeavyForm<'a> = (&'a str, &'a dyn Fn(&mut [f32]));

/// Times all forms. Call it where the system wants its loops to run: inside the pool.
pub(crate) fn measure(params: &Params, saxpy: &[SaxpyForm<'_>], heavy: &[HeavyForm<'_>]) -> Measured {
    let each = params.share(SAXPY.len() * saxpy.len() + HEAVY.len() * heavy.len());
    let mut measured = Measured::default();
    for (metric, length) in SAXPY {
        if length > LENGTH_USUAL && !is_long_possible(params, length) {
            continue;
        }
        measured = measured.with_best(metric, saxpy_us(&each, length, saxpy));
    }
    for (metric, length) in HEAVY {
        let figures = heavy.iter().map(|(name, form)| (name.to_string(), heavy_us(&each, length, form)));
        measured = measured.with_best(metric, figures.collect());
    }
    measured
}

/// Whether there is time and memory for arrays of this length.
fn is_long_possible(params: &Params, length: usize) -> bool {
    let needed_bytes = 2 * BYTES_PER_ELEMENT * length as u64;
    let has_time = !params.quick && params.soft_limit.as_secs_f64() >= SECONDS_FOR_LONG;
    has_time && available_bytes().is_some_and(|bytes| bytes >= needed_bytes)
}

/// The memory that new arrays can have, where the system tells.
fn available_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

/// The body of the heavy loop.
pub(crate) fn heavy(value: &mut f32) {
    let mut v = *value;
    for _ in 0..HEAVY_STEPS {
        v = v.sin() + v.cos();
    }
    *value = v;
}

fn heavy_us(params: &Params, length: usize, form: &dyn Fn(&mut [f32])) -> f64 {
    let mut values: Vec<f32> = (0..length).map(|index| index as f32 / length as f32).collect();
    let mut expected = values.clone();
    expected.iter_mut().for_each(heavy);
    form(&mut values);
    assert_eq!(values, expected, "the heavy loop is wrong");
    repeated_us(params, |loops| (0..loops).for_each(|_| form(black_box(&mut values))))
}

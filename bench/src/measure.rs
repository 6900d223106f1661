//! Timing inside a cell: warm up once, repeat, report the median.

use std::time::Instant;

use crate::params::Params;

/// Runs `round` once to warm up, then up to `full` times, and returns the median of each of its figures.
///
/// A slow round is repeated less often: none is begun after the soft limit of `params`, except the first. Where the one
/// that warms up takes longer than that, it is all that there is, and counts.
pub(crate) fn medians<const N: usize>(
    params: &Params,
    full: usize,
    mut round: impl FnMut() -> [f64; N],
) -> [f64; N] {
    let begin = Instant::now();
    let warm_up = round();
    if begin.elapsed() > params.soft_limit {
        return warm_up;
    }
    let mut samples: [Vec<f64>; N] = std::array::from_fn(|_| Vec::new());
    for index in 0..params.repeats(full) {
        if index > 0 && begin.elapsed() > params.soft_limit {
            break;
        }
        for (list, figure) in samples.iter_mut().zip(round()) {
            list.push(figure);
        }
    }
    samples.map(median)
}

/// The median time of `round` in nanoseconds for each of its `operations`; see [`medians`].
pub(crate) fn ns_per_op(params: &Params, full: usize, operations: u64, mut round: impl FnMut()) -> f64 {
    let [figure] = medians(params, full, || [time_ns(&mut round) / operations as f64]);
    figure
}

/// How long `f` takes, in nanoseconds.
pub(crate) fn time_ns(f: impl FnOnce()) -> f64 {
    let begin = Instant::now();
    f();
    begin.elapsed().as_nanos() as f64
}

/// The median of `samples`: the middle one, or the mean of the two in the middle.
///
/// # Panics
/// If there are no samples.
pub(crate) fn median(mut samples: Vec<f64>) -> f64 {
    assert!(!samples.is_empty(), "a median needs at least one sample");
    samples.sort_by(f64::total_cmp);
    let middle = samples.len() / 2;
    if samples.len() % 2 == 1 { samples[middle] } else { (samples[middle - 1] + samples[middle]) / 2.0 }
}

/// The smallest sample that at least `percent` per cent of all samples do not exceed (nearest rank).
///
/// # Panics
/// If there are no samples.
pub(crate) fn percentile(samples: &mut [f64], percent: f64) -> f64 {
    assert!(!samples.is_empty(), "a percentile needs at least one sample");
    samples.sort_by(f64::total_cmp);
    // 99.9 per cent of a thousand is a bit more than 999 in floating point, and must not become 1,000.
    let rank = (percent / 100.0 * samples.len() as f64 - 1e-6).ceil() as usize;
    samples[rank.clamp(1, samples.len()) - 1]
}

#[cfg(test)]
mod tests;

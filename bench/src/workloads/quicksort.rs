//! A million numbers are sorted in place: the parts of each partition by `join`, short ones by the standard
//! library's sort.

use super::{Metric, Workers, Workload};
use crate::{
    cell::Measured,
    fork::ForkJoin,
    measure::{medians, time_ns},
    params::Params,
    random::{checksum, word},
};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "quicksort",
    about: "1,000,000 numbers are sorted in place by joins, 1,024 and fewer by the standard library",
    workers: Workers::Each,
    metrics: &[Metric { name: "sort", unit: "ms", about: "all numbers" }],
};

const NUMBERS: usize = 1_000_000;
/// The most numbers that are sorted without a further partition.
const CUTOFF: usize = 1_024;
const SEED: u64 = 0x50_47;

fn quicksort<F: ForkJoin>(context: &mut F::Context<'_>, numbers: &mut [u32]) {
    if numbers.len() <= CUTOFF {
        return numbers.sort_unstable();
    }
    let pivot = partition(numbers);
    let (left, right) = numbers.split_at_mut(pivot);
    // The pivot, which comes first on the right, is where it belongs.
    let right = &mut right[1..];
    F::join(context, |context| quicksort::<F>(context, left), |context| quicksort::<F>(context, right));
}

/// Moves what is less than a pivot to its left and the rest to its right, and returns where it is.
fn partition(numbers: &mut [u32]) -> usize {
    let last = numbers.len() - 1;
    let middle = last / 2;
    // The median of three goes to the end.
    if numbers[middle] < numbers[0] {
        numbers.swap(middle, 0);
    }
    if numbers[last] < numbers[0] {
        numbers.swap(last, 0);
    }
    if numbers[middle] < numbers[last] {
        numbers.swap(middle, last);
    }
    let pivot = numbers[last];
    let mut end = 0;
    for index in 0..last {
        // Without a branch: half of all numbers would be mispredicted.
        let is_less = numbers[index] < pivot;
        numbers.swap(index, end);
        end += usize::from(is_less);
    }
    numbers.swap(end, last);
    end
}

fn numbers() -> Vec<u32> {
    (0..NUMBERS as u64).map(|index| word(SEED, index) as u32).collect()
}

/// Times the sort; the copy of the numbers before it does not count. Call it where the system wants its joins
/// to run.
pub(crate) fn measure<F: ForkJoin>(params: &Params, context: &mut F::Context<'_>) -> Measured {
    let unsorted = numbers();
    let mut sorted = unsorted.clone();
    let [ns] = medians(params, 5, || {
        sorted.copy_from_slice(&unsorted);
        let ns = time_ns(|| quicksort::<F>(context, &mut sorted));
        assert!(sorted.is_sorted(), "quicksort is wrong");
        [ns]
    });
    let checksum = checksum(sorted.iter().copied().map(u64::from));
    Measured::one("sort", ns / 1e6).checked(format!("{checksum:016x}"))
}

#[cfg(test)]
mod tests;

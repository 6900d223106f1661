//! Placements as tables.

use super::{CpuId, Pinning, ranges};
use crate::error::BuildError;

fn cpus(numbers: &[u32]) -> Vec<CpuId> {
    numbers.iter().copied().map(CpuId).collect()
}

fn placed(numbers: &[u32]) -> Vec<Option<CpuId>> {
    cpus(numbers).into_iter().map(Some).collect()
}

fn custom(numbers: &[u32]) -> Pinning {
    Pinning::Custom(cpus(numbers))
}

/// The usable CPUs, a strategy, words of the error, and what best effort makes of it.
type Refusal = (&'static [u32], Pinning, &'static [&'static str], &'static [Option<CpuId>]);

/// Placements that can be had in full: best effort makes no difference to them.
#[test]
fn what_can_be_pinned_is() {
    let table: [(&[u32], Pinning, &[u32]); 10] = [
        (&[0], Pinning::Linear, &[0]),
        (&[0, 1, 2, 3], Pinning::Linear, &[0, 1, 2, 3]),
        (&[0, 1, 2, 3], Pinning::Linear, &[0, 1]),
        (&[2, 3, 9, 1500], Pinning::Linear, &[2, 3, 9, 1500]),
        (&[0, 1], custom(&[1, 0]), &[1, 0]),
        (&[0, 1, 2], custom(&[2, 0, 1]), &[2]),
        (&[0, 1], custom(&[1, 1]), &[1, 1]),
        (&[5], custom(&[5, 5, 5, 5]), &[5, 5, 5]),
        (&[7, 4095, 131_071], custom(&[131_071, 7]), &[131_071, 7]),
        (&[0, 1], Pinning::Linear, &[]),
    ];
    for (usable, pinning, expected) in table {
        let (usable, workers) = (cpus(usable), expected.len());
        let strict = pinning.place(&usable, workers).expect("all can be pinned");
        assert_eq!(strict, placed(expected), "{pinning:?} of {usable:?}");
        assert_eq!(pinning.place_what_can_be(&usable, workers), strict);
    }
}

#[test]
fn none_pins_nothing_whatever_may_be_used() {
    for usable in [cpus(&[]), cpus(&[3]), cpus(&[0, 1, 2])] {
        let strict = Pinning::None.place(&usable, 2).expect("there is nothing to refuse");
        assert_eq!(strict, [None, None]);
        assert_eq!(Pinning::default().place_what_can_be(&usable, 2), [None, None]);
    }
}

/// The message names the CPU or the numbers, and what to do; best effort pins what remains.
#[test]
fn what_cannot_be_pinned_is_refused_or_left_out() {
    const ZERO: Option<CpuId> = Some(CpuId(0));
    const ONE: Option<CpuId> = Some(CpuId(1));
    let table: [Refusal; 10] = [
        (&[0, 1], Pinning::Linear, &["each of the 3 workers", "0-1", "lower `workers`"], &[ZERO, ONE, None]),
        (&[1], Pinning::Linear, &["may use 1:", "`pinning_best_effort`"], &[ONE, None]),
        (&[], Pinning::Linear, &["1 workers"], &[None]),
        (&[0, 1], custom(&[]), &["names 0 CPUs for 1 workers"], &[None]),
        (&[0, 1], custom(&[1]), &["names 1 CPUs for 2 workers", "`pinning_best_effort`"], &[ONE, None]),
        (&[0, 1], custom(&[2]), &["CPU 2,", "entry 0", "(0-1)", "`pinning_best_effort`"], &[None]),
        (&[0, 1], custom(&[0, 7, 1]), &["CPU 7,", "entry 1"], &[ZERO, None, ONE]),
        (&[0, 1, 5], custom(&[0, 1, u32::MAX]), &["CPU 4294967295,", "entry 2", "(0-1,5)"], &[ZERO, ONE]),
        (&[0, 2], custom(&[1, 0]), &["CPU 1,", "entry 0", "(0,2)"], &[None, ZERO]),
        (&[], custom(&[0]), &["CPU 0,"], &[None]),
    ];
    for (usable, pinning, words, rest) in table {
        let usable = cpus(usable);
        let error = pinning.place(&usable, rest.len()).expect_err("something cannot be pinned").to_string();
        for word in words {
            assert!(error.contains(word), "'{error}' does not say '{word}'");
        }
        assert_eq!(pinning.place_what_can_be(&usable, rest.len()), rest, "{pinning:?} of {usable:?}");
    }
}

#[test]
fn errors_carry_what_they_name() {
    let usable = cpus(&[0, 1]);
    let too_few = Pinning::Linear.place(&usable, 3);
    assert!(
        matches!(too_few, Err(BuildError::TooFewCpus { workers: 3, usable: ref named }) if *named == usable)
    );
    let too_short = custom(&[1]).place(&usable, 3);
    assert!(matches!(too_short, Err(BuildError::PinningTooShort { given: 1, workers: 3 })));
    let stranger = custom(&[1, 9]).place(&usable, 1);
    assert!(matches!(stranger, Err(BuildError::CpuNotUsable { cpu: CpuId(9), index: 1, .. })));
}

#[test]
fn lists_of_cpus_are_written_as_ranges() {
    let table: [(&[u32], &str); 6] = [
        (&[], ""),
        (&[4], "4"),
        (&[0, 1], "0-1"),
        (&[0, 2], "0,2"),
        (&[0, 1, 2, 5, 8, 9], "0-2,5,8-9"),
        (&[u32::MAX - 1, u32::MAX], "4294967294-4294967295"),
    ];
    for (numbers, text) in table {
        assert_eq!(ranges(&cpus(numbers)), text);
    }
}

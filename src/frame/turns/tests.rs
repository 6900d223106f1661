//! The order of frames, without any threads.
#![cfg(not(any(loom, shuttle)))]

use super::Turns;
use crate::Counter;

const STAGES: [&str; 3] = ["a", "b", "c"];

/// Begins a frame and gives its number.
fn begin(turns: &Turns) -> u64 {
    turns.begin().0
}

/// The gate of a frame, if it is closed.
fn gate(turns: &Turns, frame: u64, stage: usize) -> Option<Counter> {
    let state = super::lock(&turns.state);
    let gate = state.slots[super::slot_of(frame, turns.depth)].gates[stage].clone();
    assert!(gate.as_ref().is_none_or(|gate| !gate.is_zero()));
    gate
}

fn is_open(turns: &Turns, frame: u64, stage: usize) -> bool {
    gate(turns, frame, stage).is_none()
}

fn pass(turns: &Turns, frame: u64, stage: usize) {
    assert!(is_open(turns, frame, stage));
    turns.pass(frame, stage, |report| report.runs += 1);
}

#[test]
fn frames_follow_each_other_through_the_stages() {
    let turns = Turns::new(3, &STAGES);
    for frame in 0..3 {
        assert_eq!(begin(&turns), frame);
    }
    assert!((0..3).all(|stage| is_open(&turns, 0, stage)));
    assert!((0..3).all(|stage| !is_open(&turns, 1, stage) && !is_open(&turns, 2, stage)));
    let waits = gate(&turns, 1, 0).expect("it is closed");
    pass(&turns, 0, 0);
    assert!(waits.is_zero(), "whoever waits goes on");
    assert!(is_open(&turns, 1, 0) && !is_open(&turns, 1, 1) && !is_open(&turns, 2, 0));
    pass(&turns, 0, 1);
    pass(&turns, 1, 0);
    pass(&turns, 1, 1);
    assert!(is_open(&turns, 2, 0) && is_open(&turns, 2, 1) && !is_open(&turns, 1, 2));
    pass(&turns, 0, 2);
    for (frame, first) in [(0, 3), (1, 2), (2, 0)] {
        (first..3).for_each(|stage| pass(&turns, frame, stage));
        turns.end(frame);
    }
    let (frames, reports) = turns.into_reports();
    assert_eq!(frames, 3);
    assert!(reports.iter().zip(STAGES).all(|(report, name)| report.name == name && report.runs == 3));
}

#[test]
fn a_frame_that_ends_early_is_stepped_over_in_its_turn() {
    let turns = Turns::new(3, &STAGES);
    (0..3).for_each(|_| _ = begin(&turns));
    turns.end(1);
    assert!(!is_open(&turns, 2, 0), "frame 0 has not passed");
    pass(&turns, 0, 0);
    assert!(is_open(&turns, 2, 0) && !is_open(&turns, 2, 1));
    turns.end(0);
    assert!((0..3).all(|stage| is_open(&turns, 2, stage)));
    turns.end(2);
}

#[test]
fn slots_come_free_in_order() {
    let turns = Turns::new(3, &STAGES);
    (0..3).for_each(|_| _ = begin(&turns));
    turns.end(2);
    turns.end(1);
    assert_eq!(turns.outstanding.value(), 3, "frame 0 is still there");
    turns.end(0);
    assert_eq!(turns.outstanding.value(), 0);
    assert!((3..6).eq((0..3).map(|_| begin(&turns))));
    assert!((0..3).all(|stage| is_open(&turns, 3, stage) && !is_open(&turns, 4, stage)));
    (3..6).for_each(|frame| turns.end(frame));
    assert_eq!(turns.into_reports().0, 6);
}

#[test]
fn skipped_stages_are_passed_with_the_turn_in_a_later_one() {
    let turns = Turns::new(2, &STAGES);
    (0..2).for_each(|_| _ = begin(&turns));
    turns.skip(0, 0..2);
    assert!(is_open(&turns, 1, 0) && is_open(&turns, 1, 1) && !is_open(&turns, 1, 2));
    pass(&turns, 0, 2);
    turns.skip(1, 0..2);
    pass(&turns, 1, 2);
    turns.end(1);
    turns.end(0);
    assert!(
        turns.into_reports().1.iter().all(|report| report.runs == if report.name == "c" { 2 } else { 0 })
    );
}

/// What a frame that is ending has not got round to yet, the next one does.
#[test]
fn a_frame_may_skip_behind_one_that_is_about_to_end() {
    let turns = Turns::new(2, &STAGES);
    (0..2).for_each(|_| _ = begin(&turns));
    {
        let mut state = super::lock(&turns.state);
        state.slots[0].phase = super::Phase::Ended;
        let opened = state.advance(2);
        drop(state);
        super::open(opened);
    }
    assert!(is_open(&turns, 1, 2) && !is_open(&turns, 1, 0));
    turns.skip(1, 0..2);
    pass(&turns, 1, 2);
    turns.end(1);
    turns.end(0);
    assert_eq!(turns.outstanding.value(), 0);
    assert!(turns.into_reports().1.iter().all(|report| report.name != "c" || report.runs == 1));
}

#[test]
fn a_late_signal_opens_no_other_frames_gate() {
    let turns = Turns::new(2, &STAGES);
    (0..2).for_each(|_| _ = begin(&turns));
    let late = gate(&turns, 1, 1).expect("it is closed");
    turns.end(0);
    turns.end(1);
    (0..2).for_each(|_| _ = begin(&turns));
    assert!(late.is_zero());
    assert!(!is_open(&turns, 3, 1));
    turns.end(2);
    turns.end(3);
}

#[test]
#[should_panic(expected = "not its turn")]
fn to_pass_out_of_turn_is_a_defect() {
    let turns = Turns::new(2, &STAGES);
    (0..2).for_each(|_| _ = begin(&turns));
    turns.pass(1, 0, |_| ());
}

#[test]
fn one_frame_at_a_time_needs_no_gates() {
    let turns = Turns::new(1, &STAGES);
    for frame in 0..5 {
        let (number, gate) = turns.begin();
        assert!(number == frame && gate.is_none());
        (0..3).for_each(|stage| pass(&turns, frame, stage));
        turns.end(frame);
    }
    let without_stages = Turns::new(2, &[]);
    assert!(without_stages.begin().1.is_none());
    without_stages.end(0);
    assert_eq!(without_stages.into_reports(), (1, Vec::new()));
}

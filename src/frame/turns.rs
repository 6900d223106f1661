//! Whose turn it is: the order of frames in the stages of one run of a pipeline.
//!
//! ```text
//!            retired                       begun
//!    frames     |  0  1  2  ..  depth - 1    |          a ring of slots, one per frame between the two
//!    stage 0    |           ^ next: all before it have passed the stage
//!    stage 1    |  ^
//! ```
//!
//! A frame passes a stage when it leaves it, when it has its turn in a later one, or when it ends, whichever comes first. It has its
//! turn when all frames before it have passed. Frames that end early stay in their slots until those before them have ended,
//! so the ring is never longer than the pipeline is deep.
//!
//! Everything is under one lock, which is held for some steps. A frame whose turn has not come has a *gate* in the stage: a
//! counter of 1, its own, so that a signal that comes late is no other frame's. Whoever makes it that frame's turn
//! takes the gate out of the slot, and signals it when the lock is free again: that may run jobs' destructors,
//! which come back here.

use super::report::StageReport;
use crate::Counter;
use crate::primitives::{Mutex, lock};
use std::panic::Location;
use std::time::Duration;

/// See the [module](self).
pub(super) struct Turns {
    depth: usize,
    /// Frames begun and not retired, or more for a moment. Raised by the one who begins frames.
    outstanding: Counter,
    state: Mutex<State>,
}

struct State {
    /// Frames that have a slot, or had one.
    begun: u64,
    /// All frames below have ended, and are no more in the ring.
    retired: u64,
    /// By stage: the first frame that has not passed it.
    next: Box<[u64]>,
    slots: Box<[Slot]>,
    reports: Vec<StageReport>,
}

struct Slot {
    phase: Phase,
    /// By stage: there while the frame's turn has not come.
    gates: Box<[Option<Counter>]>,
}

/// ```text
///   Live ──ended: whoever comes next in a stage steps over the frame──> Ended ──its gates are gone──> Spent
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Live,
    Ended,
    Spent,
}

impl Turns {
    pub(super) fn new(depth: usize, stages: &[&'static str]) -> Self {
        let report = |&name: &&'static str| StageReport {
            name,
            runs: 0,
            total: Duration::ZERO,
            longest: Duration::ZERO,
            waited: Duration::ZERO,
        };
        let slot = |_| Slot { phase: Phase::Spent, gates: stages.iter().map(|_| None).collect::<Box<[_]>>() };
        let state = State {
            begun: 0,
            retired: 0,
            next: stages.iter().map(|_| 0).collect(),
            slots: (0..depth).map(slot).collect(),
            reports: stages.iter().map(report).collect(),
        };
        Self { depth, outstanding: Counter::new(0), state: Mutex::new(state) }
    }

    /// Waits until there is a slot for another frame.
    #[track_caller]
    pub(super) fn wait_for_slot(&self, site: &'static Location<'static>) {
        self.outstanding.wait_until_from(self.depth - 1, site, "FramePipeline::run");
    }

    /// Begins a frame; its number, and the gate to the first stage, if there is one and it is closed. Called by one thread or
    /// fiber alone, after [`wait_for_slot`](Self::wait_for_slot).
    pub(super) fn begin(&self) -> (u64, Option<Counter>) {
        self.outstanding.add(1);
        let state = &mut *lock(&self.state);
        let frame = state.begun;
        assert!(frame < state.retired + self.depth as u64, "there is a slot for the frame");
        state.begun += 1;
        let slot = &mut state.slots[slot_of(frame, self.depth)];
        slot.phase = Phase::Live;
        for (gate, &next) in slot.gates.iter_mut().zip(&state.next) {
            debug_assert!(gate.is_none(), "a slot's gates are gone when its frame is retired");
            *gate = (next < frame).then(|| Counter::new(1));
        }
        (frame, slot.gates.first().cloned().flatten())
    }

    /// Waits until it is the frame's turn in this stage.
    #[track_caller]
    pub(super) fn wait_for_turn(&self, frame: u64, stage: usize, site: &'static Location<'static>) {
        let gate = lock(&self.state).slots[slot_of(frame, self.depth)].gates[stage].clone();
        if let Some(gate) = gate {
            gate.wait_until_from(0, site, "FrameRun::enter");
        }
    }

    /// The frame, whose turn it is in `stages.end`, passes these stages, which it has skipped.
    pub(super) fn skip(&self, frame: u64, stages: std::ops::Range<usize>) {
        for stage in stages {
            self.pass(frame, stage, |_| ());
        }
    }

    /// The frame, whose turn it is in this stage or a later one, passes it.
    pub(super) fn pass(&self, frame: u64, stage: usize, tell: impl FnOnce(&mut StageReport)) {
        let (own, opened) = {
            let state = &mut *lock(&self.state);
            tell(&mut state.reports[stage]);
            // INVARIANT: those before it that live have passed every later stage, and so this one; those that have ended
            // may not have got round to it. What this opens is the frame's own gate, at which it does not wait.
            let own = state.advance(stage);
            assert_eq!(state.next[stage], frame, "a defect: a frame passes a stage when it is not its turn");
            state.next[stage] = frame + 1;
            (own, state.advance(stage))
        };
        open(opened);
        drop(own);
    }

    /// The frame has ended: passes all stages that it has not passed, in its turn.
    ///
    /// Waits for nothing, so it may be called by destructors. Nobody waits at the frame's gates any more.
    pub(super) fn end(&self, frame: u64) {
        let slot = slot_of(frame, self.depth);
        let stage_count = {
            let state = &mut *lock(&self.state);
            state.slots[slot].phase = Phase::Ended;
            state.next.len()
        };
        for stage in 0..stage_count {
            let (own, opened) = {
                let state = &mut *lock(&self.state);
                (state.slots[slot].gates[stage].take(), state.advance(stage))
            };
            open(opened);
            // A job that was to come after it has ended, so its drop abandons nothing.
            drop(own);
        }
        let retired = {
            let state = &mut *lock(&self.state);
            state.slots[slot].phase = Phase::Spent;
            let before = state.retired;
            while state.retired < state.begun
                && state.slots[slot_of(state.retired, self.depth)].phase == Phase::Spent
            {
                state.retired += 1;
            }
            state.retired - before
        };
        if retired > 0 {
            self.outstanding.signal_n(retired as usize);
        }
    }

    /// What was reported of the stages, after all frames have ended.
    pub(super) fn into_reports(self) -> (u64, Vec<StageReport>) {
        let state = self.state.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        debug_assert!(state.next.iter().all(|&next| next == state.begun) && state.retired == state.begun);
        (state.begun, state.reports)
    }
}

impl State {
    /// Steps over frames that have ended, and opens the gate of the one whose turn it is then: to be signalled without
    /// the lock.
    #[must_use]
    fn advance(&mut self, stage: usize) -> Option<Counter> {
        while self.next[stage] < self.begun {
            let slot = slot_of(self.next[stage], self.slots.len());
            let slot = &mut self.slots[slot];
            if slot.phase == Phase::Live {
                return slot.gates[stage].take();
            }
            self.next[stage] += 1;
        }
        None
    }
}

fn slot_of(frame: u64, depth: usize) -> usize {
    (frame % depth as u64) as usize
}

fn open(gate: Option<Counter>) {
    if let Some(gate) = gate {
        gate.signal();
    }
}

#[cfg(test)]
mod tests;

//! `ramie demo --under-fire --break`: one job of a frame does not give its signal, and ramie tells who waits for it, and where.
//!
//! When the frame waits for ever, no frame takes assets any more, so the decoders run out of places and come to rest, as do the scripts
//! that no frame wakes. Then nothing in the system can go on, which is what a stall of `run` is, and the system reports it.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use ramie::{JobSystem, StallKind, StallReport};

use super::Plan;
use super::on_ramie::{Dropped, OnRamie};
use super::play::{Patience, Progress, frame_count, play};
use super::scripts::Scripts;
use crate::args::DemoArgs;
use crate::error::Failure;

/// The signal that is dropped: half a second after the begin, in the midst of the frame's lists.
const DROPPED: Dropped = Dropped { frame: 30, list: 17 };
const STALL_AFTER: Duration = Duration::from_millis(500);
/// A frame that takes longer than this has not been reported although it should have been.
const LOSES_PATIENCE_AFTER: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Plays until the stall is reported. Gives back what is to be printed.
pub(crate) fn run(args: &DemoArgs) -> Result<String, Failure> {
    let plan = Plan::of(args);
    let scripts = Scripts::new(plan.work.script);
    let (reports, heard) = mpsc::channel();
    let on_stall = move |report: &StallReport| {
        if report.kind == StallKind::RunBlocked {
            // Nobody listens any more after the first.
            let _ = reports.send(report.to_string());
        }
    };
    let builder = JobSystem::builder().stall_after(STALL_AFTER).on_stall(on_stall);
    let engine = Arc::new(OnRamie::new(&plan, frame_count(&plan), &scripts, builder, Some(DROPPED))?);
    let progress = Arc::new(Progress::default());
    let pacing = {
        let (engine, scripts, progress) = (Arc::clone(&engine), Arc::clone(&scripts), Arc::clone(&progress));
        thread::spawn(move || play(&engine, &plan, &scripts, &progress))
    };
    let mut patience = Patience::new();
    let report = loop {
        match heard.recv_timeout(LOOK_EVERY) {
            Ok(report) => break report,
            Err(RecvTimeoutError::Disconnected) => unreachable!("the system keeps the sender"),
            Err(RecvTimeoutError::Timeout) if pacing.is_finished() => {
                return Err(Failure::new(
                    "the frames ended although a signal was missing: please report this",
                ));
            }
            Err(RecvTimeoutError::Timeout) if patience.look(&progress) > LOSES_PATIENCE_AFTER => {
                let dump = engine.dump();
                break format!("no stall was reported, so this program has asked for a dump:\n{dump}");
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    };
    // The system waits for ever, and so would who drops it. The process ends instead.
    std::mem::forget(engine);
    Ok(format!(
        "In frame {}, job 'draw' of list {} ended without its signal.\n\n{report}\n",
        DROPPED.frame + 1,
        DROPPED.list + 1
    ))
}

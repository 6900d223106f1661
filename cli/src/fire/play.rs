//! Plays frames on one system, on a steady schedule.
//!
//! Frames begin at multiples of a period, as if a screen asked for them, and the deadline of each is one period later. A frame that
//! ends after its deadline is missed, and the next one begins at the next multiple. A frame's time is from when the pacing thread
//! begins it to when it has learnt that the frame is done.

use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::Plan;
use super::assets::Assets;
use super::engine::Engine;
use super::scripts::Scripts;
use crate::error::Failure;

pub(super) const FRAMES_PER_SECOND: usize = 60;
pub(super) const PERIOD: Duration = Duration::from_nanos(16_666_667);
/// Frames at the beginning that do not count: threads are started, and memory is touched for the first time.
pub(super) const WARM_UP_FRAMES: usize = 12;
/// A frame that takes longer hangs.
pub(super) const HANGS_AFTER: Duration = Duration::from_secs(3);
/// The most time before a frame during which its thread spins.
const SPIN_MAX: Duration = Duration::from_micros(100);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What came of the frames that count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Played {
    pub(super) frames_ns: Vec<u64>,
    /// Frames that ended after their deadline.
    pub(super) missed: usize,
    /// Assets that frames have taken.
    pub(super) assets: usize,
    /// From the first frame that counts to the end of the last.
    pub(super) elapsed: Duration,
    /// Turns that scripts had, from the very beginning; `None` if there were no scripts.
    pub(super) turns: Option<usize>,
    pub(super) checksum: u64,
}

/// All frames, those included that do not count.
pub(super) fn frame_count(plan: &Plan) -> usize {
    WARM_UP_FRAMES + FRAMES_PER_SECOND * plan.seconds
}

/// How far the frames are: 2n before frame n, and one more while it plays. Written by the pacing thread.
#[derive(Debug, Default)]
pub(super) struct Progress(AtomicUsize);

impl Progress {
    /// The frame that is being played.
    pub(super) fn playing(&self) -> Option<usize> {
        let value = self.0.load(Ordering::Relaxed);
        (value % 2 == 1).then_some(value / 2)
    }
}

/// Notices when a frame does not end.
#[derive(Debug)]
pub(super) struct Patience {
    seen: Option<usize>,
    since: Instant,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self { seen: None, since: Instant::now() }
    }

    /// For how long the same frame has been playing.
    pub(super) fn look(&mut self, progress: &Progress) -> Duration {
        let playing = progress.playing();
        if playing.is_none() || playing != self.seen {
            *self = Self { seen: playing, since: Instant::now() };
        }
        self.since.elapsed()
    }
}

/// Plays all frames.
pub(super) fn play<E: Engine>(
    engine: &Arc<E>,
    plan: &Plan,
    scripts: &Scripts,
    progress: &Progress,
) -> Played {
    let has_scripts = engine.start_scripts().is_some();
    if has_scripts {
        scripts.wait_for_start();
    }
    let assets = Assets::new(plan.workers, plan.work.decode);
    let reader = assets.start(engine);
    let mut played = Played::default();
    let (mut first, mut taken_before) = (Instant::now(), 0);
    let mut due = Instant::now() + PERIOD;
    for number in 0..frame_count(plan) {
        wait_until(due);
        let begin = Instant::now();
        progress.0.store(2 * number + 1, Ordering::Relaxed);
        if number == WARM_UP_FRAMES {
            (first, taken_before) = (begin, assets.taken());
        }
        assets.take();
        engine.frame(number);
        progress.0.store(2 * number + 2, Ordering::Relaxed);
        let end = Instant::now();
        let deadline = due + PERIOD;
        if number >= WARM_UP_FRAMES {
            played.frames_ns.push((end - begin).as_nanos() as u64);
            played.missed += usize::from(end > deadline);
        }
        // If it is late, this is the next one that is not over.
        due = deadline;
        while due < end {
            due += PERIOD;
        }
    }
    played.elapsed = first.elapsed();
    played.assets = assets.taken() - taken_before;
    assets.stop(reader);
    if has_scripts {
        engine.end_scripts();
        scripts.wait_for_end();
        played.turns = Some(scripts.turns());
    }
    played.checksum = engine.checksum();
    played
}

/// Plays all frames on another thread, and gives up on them if one does not end: then it is what is returned.
pub(super) fn play_watched<E: Engine>(
    engine: E,
    plan: &Plan,
    scripts: &Arc<Scripts>,
) -> Result<Result<Played, usize>, Failure> {
    let (done, result) = mpsc::channel();
    let progress = Arc::new(Progress::default());
    {
        let (plan, scripts, progress) = (*plan, Arc::clone(scripts), Arc::clone(&progress));
        // Never joined if it hangs, and then the system that it holds is never dropped either.
        thread::spawn(move || {
            let engine = Arc::new(engine);
            let played = play(&engine, &plan, &scripts, &progress);
            drop(engine);
            // Nobody listens any more after a hang.
            let _ = done.send(played);
        });
    }
    let mut patience = Patience::new();
    loop {
        match result.recv_timeout(LOOK_EVERY) {
            Ok(played) => return Ok(Ok(played)),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::new("a frame panicked: please report this"));
            }
            Err(RecvTimeoutError::Timeout) if patience.look(&progress) > HANGS_AFTER => {
                return Ok(Err(progress.playing().unwrap_or_default()));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Sleeps until shortly before `due`, and spins until then.
fn wait_until(due: Instant) {
    thread::sleep(due.saturating_duration_since(Instant::now()).saturating_sub(SPIN_MAX));
    while Instant::now() < due {
        spin_loop();
    }
}

//! How far the frames are: the live view, or else a progress bar on stderr with frames a second, how busy the
//! workers are, and jobs a second.
//!
//! The bar shows nothing when stderr is not a terminal.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use ramie::{JobSystem, Stats};

use super::load::Load;
use crate::error::Failure;
use crate::live::Live;

/// How often the figures behind the bar change: fast enough to live, slow enough to read.
const REFRESH: Duration = Duration::from_millis(250);

/// Counts frames, and shows that.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    system: JobSystem,
    /// When the figures were last shown, what the system had done by then, and the frame. Held for
    /// moments only, and never across a wait.
    last: Mutex<(Instant, Stats, u64)>,
    /// What is shown instead of the bar.
    live: Option<Live>,
}

impl Progress {
    /// A bar for this many frames, named by what is done with them.
    pub(crate) fn new(title: &'static str, frame_count: u32, system: &JobSystem) -> Self {
        let bar = ProgressBar::new(u64::from(frame_count));
        // The template is a constant; a plain bar is shown if indicatif should ever refuse it.
        let template = "{prefix} {wide_bar} {pos}/{len} {msg}";
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.set_prefix(title);
        let last = Mutex::new((Instant::now(), system.stats(), 0));
        Self { bar, system: system.clone(), last, live: None }
    }

    /// The live view of this many frames.
    pub(crate) fn live(frame_count: u32, system: &JobSystem) -> Result<Self, Failure> {
        let live = Some(Live::start(frame_count, system)?);
        let last = Mutex::new((Instant::now(), system.stats(), 0));
        Ok(Self { bar: ProgressBar::hidden(), system: system.clone(), last, live })
    }

    /// The numbers of the frames that are to be made: all of them, or as many as have begun when the user ends
    /// the demonstration early, and one at least.
    pub(crate) fn numbers(&self, frame_count: u32) -> impl Iterator<Item = u32> + use<'_> {
        let ends = || self.live.as_ref().is_some_and(Live::ends_early);
        (0..frame_count).take_while(move |&number| number == 0 || !ends())
    }

    /// One more frame is done.
    pub(crate) fn advance(&self) {
        if let Some(live) = &self.live {
            return live.advance();
        }
        self.bar.inc(1);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (shown, before, frames_before) = &*last;
        let elapsed = shown.elapsed();
        if elapsed < REFRESH {
            return;
        }
        let (now, frames) = (self.system.stats(), self.bar.position());
        let load = Load::between(before, &now, elapsed);
        let frame_rate = (frames - frames_before) as f64 / elapsed.as_secs_f64();
        self.bar.set_message(format!(
            "{frame_rate:.0} frames/s, workers {:.0} % busy, {:.0} jobs/s",
            load.busy_percent, load.jobs_per_second
        ));
        *last = (Instant::now(), now, frames);
    }
}

impl Drop for Progress {
    /// However the frames ended, the line of the bar is free again for what is printed next. So is the terminal:
    /// the view closes when it is dropped.
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

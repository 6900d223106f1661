//! The progress bar on stderr: frames a second, how busy the workers are, jobs a second.
//!
//! It shows nothing when stderr is not a terminal.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use ramie::{JobSystem, Stats};

use super::load::Load;

/// How often the figures behind the bar change: fast enough to live, slow enough to read.
const REFRESH: Duration = Duration::from_millis(250);

/// A bar that counts frames.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    system: JobSystem,
    /// When the figures were last shown, what the system had done by then, and the frame. Held for
    /// moments only, and never across a wait.
    last: Mutex<(Instant, Stats, u64)>,
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
        Self { bar, system: system.clone(), last }
    }

    /// One more frame is done.
    pub(crate) fn advance(&self) {
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
    /// However the frames ended, the line of the bar is free again for what is printed next.
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

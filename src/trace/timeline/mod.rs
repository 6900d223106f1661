//! What people look at: a timeline in a page of its own, a trace for Perfetto, a summary. Made of a [recording](super::Recording).
//!
//! - `model`: what the events say; `chrome`, `html`, `summary`: the three forms.

mod chrome;
mod html;
mod model;
mod summary;

use super::Recording;
use model::Model;
use std::fmt;
use std::io::{self, Write};

pub use summary::{FrameTimes, JobTimes, Summary, WaitTimes};

/// A recording, made ready to be looked at (with the feature `timeline`).
///
/// # Examples
///
/// ```
/// # use ramie::trace::{self, Timeline};
/// let recorder = trace::record().start()?;
/// ramie::scope(|s| (0..100).for_each(|_| s.detach(|| ())));
/// let timeline = Timeline::of(&recorder.stop());
/// let mut page = Vec::new();
/// timeline.write_html(&mut page, "a hundred jobs")?;
/// println!("{}", timeline.summary());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Timeline {
    model: Model,
    /// The reasons for waits, by number.
    waits: Vec<String>,
    events: u64,
    lost: u64,
}

impl Timeline {
    /// Finds out what ran when and because of whom.
    pub fn of(recording: &Recording) -> Self {
        Self {
            model: Model::of(recording),
            waits: recording.waits.clone(),
            events: recording.event_count(),
            lost: recording.lost_count(),
        }
    }

    /// What took how long, in words and figures.
    pub fn summary(&self) -> Summary {
        Summary::of(&self.model, &self.waits, self.events, self.lost)
    }

    /// Writes a page that shows it, in any browser, without a network.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write_html(&self, out: impl Write, title: &str) -> io::Result<()> {
        html::write(self, out, title)
    }

    /// Writes a trace for [Perfetto](https://ui.perfetto.dev) and `chrome://tracing`: Chrome's trace event format, with a track per thread, arrows from
    /// who has woken or spawned a job to where that goes on, frames, spans and values. With `fibers` there is a track for each fiber as well.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write_chrome_trace(&self, out: impl Write, fibers: bool) -> io::Result<()> {
        chrome::write(&self.model, out, fibers)
    }
}

impl fmt::Debug for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeline")
            .field("events", &self.events)
            .field("lost", &self.lost)
            .finish_non_exhaustive()
    }
}

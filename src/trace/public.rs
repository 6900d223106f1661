use super::record::{self, Active, Stream};
use super::site::SiteRef;
use super::{event, hooks};
use std::io;
use std::marker::PhantomData;
use std::panic::Location;
use std::path::Path;
use thiserror::Error;

pub use super::record::Streamed;
pub use super::recording::{LoadError, Recording};

/// Begins to say what is to be recorded. For the whole process: all systems, and all threads that use them.
///
/// # Examples
///
/// ```
/// let recorder = ramie::trace::record().start()?;
/// ramie::scope(|s| (0..10).for_each(|_| s.detach(|| ())));
/// let recording = recorder.stop();
/// assert!(recording.event_count() >= 20, "ten jobs have begun and ended");
/// # Ok::<(), ramie::trace::RecordError>(())
/// ```
pub fn record() -> RecordBuilder {
    RecordBuilder { events_per_thread: EVENTS_DEFAULT }
}

const EVENTS_DEFAULT: usize = 1 << 16;
const EVENTS_MIN: usize = 1 << 8;
const EVENTS_MAX: usize = 1 << 26;

/// How to record; made by [`record`].
#[derive(Clone, Debug)]
#[must_use = "nothing is recorded before it is started"]
pub struct RecordBuilder {
    events_per_thread: usize,
}

/// Why a recording was not started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Another one goes on.
    #[error("something records already: only one recording of a process can go on at a time")]
    AlreadyRecording,
    /// There is no memory for so many events, or it would be of no use.
    #[error("{events} events per thread: choose from {EVENTS_MIN} to {EVENTS_MAX}, of 32 bytes each")]
    EventsPerThread {
        /// What was wanted.
        events: usize,
    },
    /// The file cannot be written, or there is no thread for it.
    #[error("the recording cannot be written into its file: {0}")]
    Io(#[from] io::Error),
}

impl RecordBuilder {
    /// How many events are kept of each thread, rounded up to a power of two: 65,536 by default, 256 to 2^26; 32 bytes each. The memory is
    /// allocated when a thread has its first event, and freed when the recording is over and the thread has ended or has an event of the next one; of threads that
    /// have ended it is kept as long as the recording, unless that is written into a file. If there are more events, the oldest are overwritten.
    pub fn events_per_thread(mut self, events: usize) -> Self {
        self.events_per_thread = events;
        self
    }

    fn begin(&self) -> Result<Active, RecordError> {
        let events = self.events_per_thread;
        if !(EVENTS_MIN..=EVENTS_MAX).contains(&events) {
            return Err(RecordError::EventsPerThread { events });
        }
        record::begin(events.next_power_of_two()).ok_or(RecordError::AlreadyRecording)
    }

    /// Records from now on, in memory.
    ///
    /// # Errors
    ///
    /// [`RecordError`].
    pub fn start(self) -> Result<Recorder, RecordError> {
        Ok(Recorder { active: self.begin()?, first_tick: record::ticks() })
    }

    /// Records from now on into a file, which a thread writes every few milliseconds. What is kept of each thread has to last for that long.
    ///
    /// # Errors
    ///
    /// [`RecordError`].
    pub fn start_streaming(self, path: impl AsRef<Path>) -> Result<StreamRecorder, RecordError> {
        // Before there is an empty file in the place of another one.
        let active = self.begin()?;
        let file = std::fs::File::create(path)?;
        let stream = Stream::start(file, record::ticks())?;
        Ok(StreamRecorder { active: Some(active), stream: Some(stream) })
    }
}

/// A recording that goes on, until this is stopped or dropped.
#[derive(Debug)]
#[must_use = "it records until it is dropped"]
pub struct Recorder {
    active: Active,
    first_tick: u64,
}

impl Recorder {
    /// What was recorded until now. It goes on.
    pub fn snapshot(&self) -> Recording {
        record::take(self.first_tick)
    }

    /// Ends the recording.
    pub fn stop(self) -> Recording {
        // Before it is read, so that what is read is not overwritten.
        hooks::set(hooks::RECORDS, false);
        let recording = record::take(self.first_tick);
        drop(self.active);
        recording
    }
}

/// A recording that goes on and is written into a file, until this is finished or dropped.
#[derive(Debug)]
#[must_use = "it records until it is dropped"]
pub struct StreamRecorder {
    active: Option<Active>,
    stream: Option<Stream>,
}

impl StreamRecorder {
    /// Ends the recording, and waits until the file is complete.
    ///
    /// # Errors
    ///
    /// What went wrong with the file, also earlier. What was written until then can be read.
    pub fn finish(mut self) -> io::Result<Streamed> {
        self.end().unwrap_or_else(|| Ok(Streamed::default()))
    }

    fn end(&mut self) -> Option<io::Result<Streamed>> {
        hooks::set(hooks::RECORDS, false);
        let streamed = self.stream.take().map(Stream::finish);
        self.active = None;
        streamed
    }
}

impl Drop for StreamRecorder {
    fn drop(&mut self) {
        if self.stream.is_some() {
            let _ = self.end();
        }
    }
}

/// Notes that a frame begins: its number. What [`FramePipeline`](crate::FramePipeline) runs notes its own.
#[inline]
pub fn mark_frame(number: u64) {
    #[cfg(all(feature = "tracy", not(any(shuttle, loom))))]
    super::tracy::frame();
    if hooks::records() {
        event::frame(number);
    }
}

/// Notes the value that something has now: a line in the timeline.
#[inline]
#[track_caller]
pub fn value(name: &'static str, value: f64) {
    if hooks::records() {
        event::value(SiteRef::named(Location::caller(), name), value);
    }
}

/// Notes that something goes on until the guard is dropped, inside of the job that runs, also while that waits.
///
/// Costs a load and a branch while nothing is recorded. For spans that more than ramie's recordings are to know there is the feature `tracing`.
///
/// # Examples
///
/// ```
/// fn update() {
///     let _span = ramie::trace::span("update");
///     // ...
/// }
/// ```
#[inline]
#[track_caller]
pub fn span(name: &'static str) -> Span {
    let site = hooks::records().then(|| {
        let site = SiteRef::named(Location::caller(), name);
        event::span(event::Kind::SpanBegin, site);
        site
    });
    Span { site, not_send: PhantomData }
}

/// What [`span`] gives.
#[derive(Debug)]
#[must_use = "it ends when it is dropped"]
pub struct Span {
    site: Option<SiteRef>,
    /// It belongs to the job.
    not_send: PhantomData<*const ()>,
}

impl Drop for Span {
    #[inline]
    fn drop(&mut self) {
        if let Some(site) = self.site {
            if hooks::records() {
                event::span(event::Kind::SpanEnd, site);
            }
        }
    }
}

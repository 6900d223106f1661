//! `ramie demo --live`: what the workers do and what fibers wait for, in the terminal, ten times a second.
//!
//! ```text
//! Stats, dump ──> History ──> View ──> draw ──> Screen
//!                 deltas      numbers  text     the terminal
//! ```
//!
//! All of it happens on a thread of its own, which is no worker. A panic on any thread closes the view before its
//! message is printed, and the demonstration goes on without it. Reports go to stdout when the view is closed.

mod draw;
mod history;
mod screen;
mod snapshot;
mod text;
mod waits;

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ramie::JobSystem;

use crate::error::Failure;
use history::{History, View};
use screen::{Key, Screen};

const REDRAW: Duration = Duration::from_millis(100);
/// Looking at every fiber takes longer than the statistics do, and nobody reads so fast.
const DUMP: Duration = Duration::from_secs(1);

/// A view that is shown until this is dropped.
#[derive(Debug)]
pub(crate) struct Live {
    frames: Arc<Frames>,
    /// Nothing is sent: that it is gone is what the thread waits for.
    closing: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the demonstration and the view tell each other. The numbers stand for themselves, so all accesses are relaxed.
#[derive(Debug)]
struct Frames {
    total: u32,
    /// Written by the jobs that make frames, read by the view.
    done: AtomicU32,
    /// Whether the user ends the demonstration. Written by the view, read by whoever begins frames.
    ends: AtomicBool,
}

impl Live {
    /// Whether there is a terminal for it.
    pub(crate) fn check() -> Result<(), Failure> {
        let streams = [("stdout", io::stdout().is_terminal()), ("stderr", io::stderr().is_terminal())];
        match streams.iter().find(|(_, is_terminal)| !is_terminal) {
            Some((name, _)) => Err(Failure::new(format!(
                "--live needs a terminal, and {name} is none: leave --live out, or do not redirect {name}"
            ))),
            None => Ok(()),
        }
    }

    /// Shows what the system does until so many frames are done.
    pub(crate) fn start(total: u32, system: &JobSystem) -> Result<Self, Failure> {
        let failure = |error| Failure::new(format!("cannot use the terminal ({error}): leave --live out"));
        let frames = Arc::new(Frames { total, done: AtomicU32::new(0), ends: AtomicBool::new(false) });
        let screen = Screen::open().map_err(failure)?;
        let (closing, closed) = mpsc::channel();
        let thread = thread::Builder::new().name("live view".into()).spawn({
            let (frames, system) = (Arc::clone(&frames), system.clone());
            // If the terminal fails there is no view any more, and the demonstration goes on.
            move || _ = show(screen, &frames, &system, &closed)
        });
        Ok(Self { frames, closing: Some(closing), thread: Some(thread.map_err(failure)?) })
    }

    /// One more frame is done.
    pub(crate) fn advance(&self) {
        self.frames.done.fetch_add(1, Relaxed);
    }

    /// Whether no more frames are to begin.
    pub(crate) fn ends_early(&self) -> bool {
        self.frames.ends.load(Relaxed)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.closing = None;
        if let Some(thread) = self.thread.take() {
            // If it panicked, the message has been printed.
            let _ = thread.join();
        }
    }
}

/// Draws until it is told to close, or the screen is closed.
fn show(mut screen: Screen, frames: &Frames, system: &JobSystem, closed: &Receiver<()>) -> io::Result<()> {
    let mut history = History::new(system.stats());
    let (mut waits, mut dumped_at) = (Vec::new(), None::<Instant>);
    let mut view: Option<View> = None;
    let mut paused = false;
    while screen.is_open() {
        while let Some(key) = screen.key()? {
            match key {
                Key::End => frames.ends.store(true, Relaxed),
                Key::Pause => paused = !paused,
            }
        }
        if dumped_at.is_none_or(|at| at.elapsed() >= DUMP) {
            waits = waits::of(&system.dump());
            dumped_at = Some(Instant::now());
        }
        history.add(system.stats(), frames.done.load(Relaxed));
        let shown = match view.take() {
            Some(shown) if paused => shown,
            _ => history.view(frames.total, waits.clone()),
        };
        let shown = view.insert(View { paused, ends: frames.ends.load(Relaxed), ..shown });
        screen.draw(shown)?;
        if closed.recv_timeout(REDRAW) != Err(RecvTimeoutError::Timeout) {
            break;
        }
    }
    Ok(())
}

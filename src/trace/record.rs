//! Recording: each thread that does something while somebody records writes events into a ring of its own; whoever ends the recording reads them all, or a thread
//! of its own does so again and again and writes them into a file.
//!
//! A thread makes its ring when it has the first event, under a lock; from then on it never waits. Rings are the recording's: the next one has others, and a
//! thread finds out by the recording's number.

use super::event::Kind;
use super::hooks;
use super::recording::{Clock, Recording, Thread, ThreadKind, Writer};
use super::ring::{RawEvent, Ring};
use crate::sched::current;
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a file gets what was recorded since.
const STREAM_EVERY: Duration = Duration::from_millis(5);
/// In how many bytes a file is written.
const FILE_BUFFER: usize = 1 << 20;

/// The ring of one thread in one recording.
struct ThreadRing {
    ring: Ring,
    label: String,
    kind: ThreadKind,
}

struct State {
    is_recording: bool,
    capacity: usize,
    threads: Vec<Arc<ThreadRing>>,
}

static STATE: Mutex<State> = Mutex::new(State { is_recording: false, capacity: 0, threads: Vec::new() });
/// The number of the recording; changed under the lock.
static NUMBER: AtomicU32 = AtomicU32::new(0);

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a thread keeps: the number of a recording, and its ring there.
#[derive(Default)]
pub(crate) struct OwnRing(RefCell<Option<(u32, Arc<ThreadRing>)>>);

impl OwnRing {
    pub(crate) const fn new() -> Self {
        Self(RefCell::new(None))
    }

    fn write(&self, event: RawEvent) {
        // An allocator that records may come by while the ring is made.
        let Ok(mut own) = self.0.try_borrow_mut() else { return };
        let number = NUMBER.load(Ordering::Acquire);
        if !matches!(&*own, Some((known, _)) if *known == number) {
            *own = join();
        }
        if let Some((_, thread)) = &*own {
            thread.ring.push(event);
        }
    }
}

/// Makes a ring for this thread, if somebody records.
#[cold]
fn join() -> Option<(u32, Arc<ThreadRing>)> {
    let kind = match current::worker() {
        Some(worker) if worker.is_background() => {
            ThreadKind::Background(worker.system().index, worker.index())
        }
        Some(worker) => ThreadKind::Worker(worker.system().index, worker.index()),
        None => ThreadKind::Outside,
    };
    let name = std::thread::current().name().map(str::to_owned);
    let mut state = state();
    if !state.is_recording {
        return None;
    }
    let label = name.unwrap_or_else(|| format!("thread {}", state.threads.len()));
    let thread = Arc::new(ThreadRing { ring: Ring::new(state.capacity), label, kind });
    state.threads.push(thread.clone());
    Some((NUMBER.load(Ordering::Relaxed), thread))
}

/// Writes an event of this thread.
pub(super) fn write(event: RawEvent) {
    current::with_ring(|ring| ring.write(event));
}

/// The time of an event: of the processor's counter, or else in nanoseconds.
pub(super) fn ticks() -> u64 {
    crate::sys::ticks().unwrap_or_else(|| super::process_epoch().at.elapsed().as_nanos() as u64)
}

/// The calling thread has begun a recording, which only one can at a time.
#[derive(Debug)]
pub(super) struct Active(());

pub(super) fn begin(capacity: usize) -> Option<Active> {
    let mut state = state();
    if state.is_recording {
        return None;
    }
    // The clock that others are measured by.
    super::process_epoch();
    *state = State { is_recording: true, capacity, threads: Vec::new() };
    NUMBER.fetch_add(1, Ordering::Release);
    hooks::set(hooks::RECORDS, true);
    Some(Active(()))
}

impl Drop for Active {
    fn drop(&mut self) {
        hooks::set(hooks::RECORDS, false);
        let mut state = state();
        state.is_recording = false;
        // Threads that are about to write still may, into rings of their own.
        state.threads.clear();
    }
}

/// How far the rings were read.
#[derive(Default)]
struct Reader {
    /// For each thread, how far, and how much was overwritten before.
    positions: Vec<(u64, u64)>,
}

impl Reader {
    /// Gives each thread's new events to `each`.
    fn read<E>(
        &mut self,
        mut each: impl FnMut(usize, &ThreadRing, Vec<RawEvent>, u64) -> Result<(), E>,
    ) -> Result<(), E> {
        let threads = state().threads.clone();
        self.positions.resize(threads.len(), (0, 0));
        for (index, (thread, position)) in threads.iter().zip(&mut self.positions).enumerate() {
            let mut events = Vec::new();
            let (next, lost) = thread.ring.read(position.0, &mut events);
            *position = (next, position.1 + lost);
            each(index, thread, events, lost)?;
        }
        Ok(())
    }
}

/// Ends a recording that is in memory alone, or looks at it while it goes on.
pub(super) fn take(first_tick: u64) -> Recording {
    let mut recording = Recording::empty(Clock::since(first_tick));
    let read: Result<(), ()> = Reader::default().read(|_, thread, events, lost| {
        events.iter().for_each(|event| recording.learn(event));
        recording.threads.push(Thread { label: thread.label.clone(), kind: thread.kind, events, lost });
        Ok(())
    });
    debug_assert!(read.is_ok());
    recording
}

/// Writes a recording into a file while it goes on.
#[derive(Debug)]
pub(super) struct Stream {
    stop: SyncSender<()>,
    thread: std::thread::JoinHandle<io::Result<Streamed>>,
}

/// What a recording that went into a file has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Streamed {
    /// Events written.
    pub events: u64,
    /// Events that were overwritten before they could be written.
    pub lost: u64,
}

impl Stream {
    pub(super) fn start(file: File, first_tick: u64) -> io::Result<Self> {
        let (stop, stopped) = mpsc::sync_channel(1);
        let mut writer = Writer::new(BufWriter::with_capacity(FILE_BUFFER, file), first_tick)?;
        let run = move || {
            let (mut reader, mut streamed) = (Reader::default(), Streamed::default());
            loop {
                let ends = !matches!(stopped.recv_timeout(STREAM_EVERY), Err(RecvTimeoutError::Timeout));
                reader.read(|index, thread, events, lost| {
                    streamed.events += events.len() as u64;
                    streamed.lost += lost;
                    writer.thread(index, &thread.label, thread.kind)?;
                    writer.events(index, &events)?;
                    writer.lost(index, lost)
                })?;
                if ends {
                    writer.end()?.flush()?;
                    return Ok(streamed);
                }
            }
        };
        let thread = std::thread::Builder::new().name("ramie-record".into()).spawn(run)?;
        Ok(Self { stop, thread })
    }

    pub(super) fn finish(self) -> io::Result<Streamed> {
        // It has gone already if it could not write.
        let _ = self.stop.send(());
        self.thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread that writes a recording panicked")))
    }
}

/// Whether the third word of an event is a place.
pub(super) fn has_place(kind: Kind) -> bool {
    !matches!(kind, Kind::JobEnd | Kind::Wake | Kind::Steal | Kind::Park | Kind::Unpark | Kind::Frame)
}

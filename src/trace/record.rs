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
    /// How many there have been.
    joined: usize,
}

impl State {
    const NONE: Self = Self { is_recording: false, capacity: 0, threads: Vec::new(), joined: 0 };
}

static STATE: Mutex<State> = Mutex::new(State::NONE);
/// The number of the recording; changed under the lock.
static NUMBER: AtomicU32 = AtomicU32::new(0);

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a thread keeps: the number of a recording, and its rings there: as any thread, and as a worker, which the main thread is at times only.
pub(crate) struct OwnRing(RefCell<(u32, [Option<Arc<ThreadRing>>; 2])>);

impl OwnRing {
    pub(crate) const fn new() -> Self {
        Self(RefCell::new((0, [None, None])))
    }

    fn write(&self, as_worker: bool, event: RawEvent) {
        // An allocator that records may come by while the ring is made.
        let Ok(mut own) = self.0.try_borrow_mut() else { return };
        let number = NUMBER.load(Ordering::Acquire);
        if own.0 != number {
            *own = (number, [None, None]);
        }
        let thread = &mut own.1[usize::from(as_worker)];
        if thread.is_none() {
            *thread = join(number);
        }
        if let Some(thread) = thread {
            thread.ring.push(event);
        }
    }
}

/// Makes a ring for this thread as what it is now, if the recording of this number goes on.
#[cold]
fn join(number: u32) -> Option<Arc<ThreadRing>> {
    let kind = match current::worker() {
        Some(worker) if worker.is_background() => {
            ThreadKind::Background(worker.system().index, worker.index())
        }
        Some(worker) => ThreadKind::Worker(worker.system().index, worker.index()),
        None => ThreadKind::Outside,
    };
    let name = std::thread::current().name().map(str::to_owned);
    let is_current = |state: &State| state.is_recording && NUMBER.load(Ordering::Relaxed) == number;
    let capacity = Some(state()).filter(|state| is_current(state))?.capacity;
    // Megabytes that are touched: all workers do that at once when a recording begins.
    let ring = Ring::new(capacity);
    let mut state = state();
    if !is_current(&state) {
        return None;
    }
    let label = match (name, kind) {
        (Some(name), ThreadKind::Worker(_, index)) if name == "main" => format!("main, as worker {index}"),
        (Some(name), _) => name,
        (None, _) => format!("thread {}", state.joined),
    };
    let thread = Arc::new(ThreadRing { ring, label, kind });
    state.threads.push(thread.clone());
    state.joined += 1;
    Some(thread)
}

/// Writes an event of this thread.
pub(super) fn write(as_worker: bool, event: RawEvent) {
    current::with_ring(|ring| ring.write(as_worker, event));
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
    *state = State { is_recording: true, capacity, ..State::NONE };
    NUMBER.fetch_add(1, Ordering::Release);
    // Telling all systems may drop the last handle of one, and so run code that records.
    drop(state);
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

/// Ends a recording that is in memory alone, or looks at it while it goes on.
pub(super) fn take(first_tick: u64) -> Recording {
    let threads = state().threads.clone();
    let threads = threads.iter().map(|thread| {
        let mut events = Vec::new();
        let (_, lost) = thread.ring.read(0, &mut events);
        Thread { label: thread.label.clone(), kind: thread.kind, events, lost }
    });
    let threads = threads.collect();
    // Behind the last event.
    let mut recording = Recording::empty(Clock::since(first_tick));
    recording.threads = threads;
    recording.learn_places();
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

/// What a stream has read.
#[derive(Default)]
struct Reader {
    /// The ring of each thread, until that has ended; and how far it was read.
    threads: Vec<(Option<Arc<ThreadRing>>, u64)>,
    streamed: Streamed,
}

impl Reader {
    /// Writes what is new.
    fn read(&mut self, writer: &mut Writer<impl Write>) -> io::Result<()> {
        self.threads.extend(state().threads.drain(..).map(|thread| (Some(thread), 0)));
        for (index, (thread, _)) in self.threads.iter().enumerate() {
            // In order, whether they have had their first event yet or not.
            thread.iter().try_for_each(|thread| writer.thread(index, &thread.label, thread.kind))?;
        }
        let mut read = Vec::new();
        for (index, (thread, position)) in self.threads.iter_mut().enumerate() {
            let Some(ring) = thread else { continue };
            // If nobody else has it, nobody writes to it any more. ORDERING: Acquire (in `get_mut`) for what was written last.
            let has_ended = Arc::get_mut(ring).is_some();
            let mut events = Vec::new();
            let (next, lost) = ring.ring.read(*position, &mut events);
            *position = next;
            if !events.is_empty() || lost > 0 {
                read.push((index, events, lost));
            }
            if has_ended {
                *thread = None;
            }
        }
        if read.is_empty() {
            return Ok(());
        }
        // Before the events, so that they are of use when the process ends without an end of the file.
        writer.clock_now()?;
        for (index, events, lost) in read {
            self.streamed.events += events.len() as u64;
            self.streamed.lost += lost;
            writer.events(index, &events)?;
            writer.lost(index, lost)?;
        }
        writer.flush()
    }
}

impl Stream {
    pub(super) fn start(file: File, first_tick: u64) -> io::Result<Self> {
        let (stop, stopped) = mpsc::sync_channel(1);
        let mut writer = Writer::new(BufWriter::with_capacity(FILE_BUFFER, file), first_tick)?;
        let run = move || {
            let mut reader = Reader::default();
            loop {
                let ends = !matches!(stopped.recv_timeout(STREAM_EVERY), Err(RecvTimeoutError::Timeout));
                reader.read(&mut writer)?;
                if ends {
                    writer.end()?;
                    return Ok(reader.streamed);
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
    !matches!(
        kind,
        Kind::JobEnd | Kind::JobDropped | Kind::Wake | Kind::Steal | Kind::Park | Kind::Unpark | Kind::Frame
    )
}

//! What was recorded, and the file that it is kept in.
//!
//! ```text
//!   "RAMIEREC"  u32 version
//!   chunks:     u8 tag, u32 bytes, so many bytes:
//!     1 clock   f64 nanoseconds per tick, u64 first tick, u64 last tick; the last one counts
//!     2 thread  u32 index, u8 kind, u32 system, u32 worker, text: its label
//!     3 place   u64 its word in events, u32 line, u32 column, text file, u8 has a name, text name
//!     4 events  u32 thread, events of four u64
//!     5 lost    u32 thread, u64 how many
//!     6 waits   texts: the reasons for waits, by number
//!     7 end
//!   text:       u32 bytes, UTF-8
//! ```
//!
//! All numbers are little-endian. A file without an end was cut off; what is there is used.

#![expect(unsafe_code, reason = "words of events are places")]

use super::event::Kind;
use super::record::has_place;
use super::ring::RawEvent;
use super::site::SiteRef;
use crate::fiber::WaitKind;
use std::collections::{BTreeMap, HashSet};
use std::io::{self, Read, Write};
use std::path::Path;
use std::ptr;
use thiserror::Error;

const MAGIC: &[u8; 8] = b"RAMIEREC";
const VERSION: u32 = 1;

const CLOCK: u8 = 1;
const THREAD: u8 = 2;
const PLACE: u8 = 3;
const EVENTS: u8 = 4;
const LOST: u8 = 5;
const WAITS: u8 = 6;
const END: u8 = 7;

/// How ticks become nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Clock {
    pub(super) ns_per_tick: f64,
    pub(super) first: u64,
    pub(super) last: u64,
}

impl Clock {
    /// The clock of a recording that began at this tick and is read now.
    pub(super) fn since(first: u64) -> Self {
        let epoch = super::process_epoch();
        let (last, ns) = (super::record::ticks(), epoch.at.elapsed().as_nanos() as f64);
        let ns_per_tick = match crate::sys::ticks() {
            Some(_) if last > epoch.ticks => ns / (last - epoch.ticks) as f64,
            _ => 1.0,
        };
        Self { ns_per_tick, first, last }
    }
}

/// What a thread was when it wrote its first event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ThreadKind {
    Outside,
    /// System and index.
    Worker(u32, usize),
    Background(u32, usize),
}

impl ThreadKind {
    /// System and index, if it is a worker.
    #[cfg(feature = "timeline")]
    pub(super) fn worker(self) -> Option<(u32, usize)> {
        match self {
            ThreadKind::Outside => None,
            ThreadKind::Worker(system, index) | ThreadKind::Background(system, index) => {
                Some((system, index))
            }
        }
    }

    fn words(self) -> (u8, u32, u32) {
        match self {
            ThreadKind::Outside => (0, 0, 0),
            ThreadKind::Worker(system, index) => (1, system, index as u32),
            ThreadKind::Background(system, index) => (2, system, index as u32),
        }
    }

    fn from_words((kind, system, index): (u8, u32, u32)) -> Option<Self> {
        match kind {
            0 => Some(ThreadKind::Outside),
            1 => Some(ThreadKind::Worker(system, index as usize)),
            2 => Some(ThreadKind::Background(system, index as usize)),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Thread {
    pub(super) label: String,
    pub(super) kind: ThreadKind,
    /// In the order in which they were written.
    pub(super) events: Vec<RawEvent>,
    pub(super) lost: u64,
}

/// A place in the source, and perhaps a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: String,
    pub(super) line: u32,
    pub(super) column: u32,
    pub(super) name: Option<String>,
}

impl Place {
    /// The place of a word that stands for one in this process.
    fn of(word: u64) -> Option<Self> {
        let raw = ptr::with_exposed_provenance_mut(word as usize);
        // SAFETY: words of places in events were made from such references, which are for ever, and rings give whole events only.
        let site = unsafe { SiteRef::from_raw(raw) };
        let location = site.location()?;
        Some(Self {
            file: location.file().to_owned(),
            line: location.line(),
            column: location.column(),
            name: site.name().map(str::to_owned),
        })
    }
}

/// What was recorded: made by [`Recorder::stop`](super::Recorder::stop) and read back by [`load`](Self::load).
///
/// The program `ramie trace FILE`, in `cli/`, makes a timeline and a trace for [Perfetto](https://ui.perfetto.dev) of it, and prints a summary. With the feature
/// `timeline` so does `Timeline`, for programs that do it themselves.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    pub(super) clock: Clock,
    pub(super) threads: Vec<Thread>,
    pub(super) places: BTreeMap<u64, Place>,
    pub(super) waits: Vec<String>,
}

/// Why a file could not be read as a recording.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// It could not be read.
    #[error("the recording could not be read: {0}")]
    Io(#[from] io::Error),
    /// It is something else.
    #[error("this is no recording of ramie: it does not begin with \"RAMIEREC\"")]
    NotARecording,
    /// It was written by a version of ramie whose files differ.
    #[error("the recording is of format {found}, and this version of ramie reads format {expected}: use the version that wrote it", expected = VERSION)]
    OtherVersion {
        /// The format's number in the file.
        found: u32,
    },
    /// What is at this offset makes no sense.
    #[error(
        "the recording is damaged at byte {offset}: {what}; what comes before it is of no use without it, so record again"
    )]
    Damaged {
        /// Bytes before the damage.
        offset: usize,
        /// What is wrong there.
        what: &'static str,
    },
}

impl Recording {
    pub(super) fn empty(clock: Clock) -> Self {
        let waits = WaitKind::ALL.iter().map(|kind| super::dump::short_name(*kind).to_owned()).collect();
        Self { clock, threads: Vec::new(), places: BTreeMap::new(), waits }
    }

    /// Describes the places of all events, which are of this process.
    pub(super) fn learn_places(&mut self) {
        let words: HashSet<u64> =
            self.threads.iter().flat_map(|thread| &thread.events).filter_map(place_of).collect();
        self.places = words.into_iter().filter_map(|word| Some((word, Place::of(word)?))).collect();
    }

    /// How long was recorded.
    pub fn duration(&self) -> std::time::Duration {
        let ticks = self.clock.last.saturating_sub(self.clock.first);
        std::time::Duration::from_nanos((ticks as f64 * self.clock.ns_per_tick) as u64)
    }

    /// How many events there are.
    pub fn event_count(&self) -> u64 {
        self.threads.iter().map(|thread| thread.events.len() as u64).sum()
    }

    /// How many events were overwritten by newer ones.
    pub fn lost_count(&self) -> u64 {
        self.threads.iter().map(|thread| thread.lost).sum()
    }

    /// Writes it into a file, from which [`load`](Self::load) reads it back.
    ///
    /// # Errors
    ///
    /// Those of writing.
    pub fn save(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.write(io::BufWriter::new(std::fs::File::create(path)?))
    }

    /// As [`save`](Self::save), to a writer.
    ///
    /// # Errors
    ///
    /// Those of writing.
    pub fn write(&self, out: impl Write) -> io::Result<()> {
        let mut writer = Writer::begin(out, self.clock, &self.waits)?;
        for (word, place) in &self.places {
            writer.place(*word, place)?;
        }
        for (index, thread) in self.threads.iter().enumerate() {
            writer.thread(index, &thread.label, thread.kind)?;
            writer.known_events(index, &thread.events)?;
            writer.lost(index, thread.lost)?;
        }
        writer.chunk(END, &[])?;
        writer.out.flush()
    }

    /// Reads a file that was written by [`save`](Self::save) or [streamed](super::RecordBuilder::start_streaming).
    ///
    /// # Errors
    ///
    /// [`LoadError`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        Self::read(std::fs::File::open(path)?)
    }

    /// As [`load`](Self::load), from a reader.
    ///
    /// # Errors
    ///
    /// [`LoadError`].
    pub fn read(mut input: impl Read) -> Result<Self, LoadError> {
        let mut bytes = Vec::new();
        input.read_to_end(&mut bytes)?;
        let rest = bytes.strip_prefix(MAGIC).ok_or(LoadError::NotARecording)?;
        let mut cursor = Cursor { bytes: rest, length: bytes.len() };
        match cursor.u32()? {
            VERSION => {}
            found => return Err(LoadError::OtherVersion { found }),
        }
        let mut recording = Self {
            clock: Clock { ns_per_tick: 1.0, first: 0, last: 0 },
            threads: Vec::new(),
            places: BTreeMap::new(),
            waits: Vec::new(),
        };
        // One that was cut off in the middle of a chunk ends before it.
        while let Some((tag, payload)) = cursor.chunk() {
            if tag == END {
                break;
            }
            recording.add(tag, payload)?;
        }
        // Of one that was cut off the last clock comes before the last events.
        let times = recording.threads.iter().flat_map(|thread| &thread.events).map(|event| event[0]);
        recording.clock.last =
            times.max().map_or(recording.clock.last, |last| recording.clock.last.max(last));
        Ok(recording)
    }

    fn add(&mut self, tag: u8, mut payload: Cursor<'_>) -> Result<(), LoadError> {
        match tag {
            CLOCK => {
                let ns_per_tick = f64::from_bits(payload.u64()?);
                if !(ns_per_tick.is_finite() && ns_per_tick > 0.0) {
                    return Err(payload.damaged("a clock that does not go on"));
                }
                self.clock = Clock { ns_per_tick, first: payload.u64()?, last: payload.u64()? };
            }
            THREAD => {
                let index = payload.u32()? as usize;
                let words = (payload.u8()?, payload.u32()?, payload.u32()?);
                let kind = ThreadKind::from_words(words)
                    .ok_or_else(|| payload.damaged("a thread of no known kind"))?;
                let label = payload.text()?;
                if index > self.threads.len() {
                    return Err(payload.damaged("a thread whose predecessors are missing"));
                }
                if index == self.threads.len() {
                    self.threads.push(Thread { label, kind, events: Vec::new(), lost: 0 });
                }
            }
            PLACE => {
                let word = payload.u64()?;
                let (line, column, file) = (payload.u32()?, payload.u32()?, payload.text()?);
                let name = if payload.u8()? != 0 { Some(payload.text()?) } else { None };
                self.places.insert(word, Place { file, line, column, name });
            }
            EVENTS => {
                let index = payload.u32()? as usize;
                if payload.bytes.len() % size_of::<RawEvent>() != 0 {
                    return Err(payload.damaged("half an event"));
                }
                let Some(thread) = self.threads.get_mut(index) else {
                    return Err(payload.damaged("events of a thread that is not known"));
                };
                let events = payload.bytes.chunks_exact(size_of::<RawEvent>());
                thread.events.extend(events.map(|event| {
                    let mut words = event.chunks_exact(8);
                    [const { 0 }; 4].map(|_: u64| {
                        words.next().map_or(0, |word| u64::from_le_bytes(word.try_into().unwrap_or_default()))
                    })
                }));
            }
            LOST => {
                let (index, lost) = (payload.u32()? as usize, payload.u64()?);
                match self.threads.get_mut(index) {
                    Some(thread) => thread.lost = thread.lost.saturating_add(lost),
                    None => return Err(payload.damaged("losses of a thread that is not known")),
                }
            }
            WAITS => {
                while !payload.bytes.is_empty() {
                    let name = payload.text()?;
                    self.waits.push(name);
                }
            }
            // Of a newer version that adds something.
            _ => {}
        }
        Ok(())
    }
}

/// The place in an event, if it has one.
fn place_of(event: &RawEvent) -> Option<u64> {
    let kind = Kind::of(event)?;
    (has_place(kind) && event[2] != 0).then_some(event[2])
}

/// Writes a recording chunk by chunk.
pub(super) struct Writer<W: Write> {
    out: W,
    first_tick: u64,
    known: HashSet<u64>,
    threads: usize,
    buffer: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Of a recording of this process that began at this tick.
    pub(super) fn new(out: W, first_tick: u64) -> io::Result<Self> {
        let names = Recording::empty(Clock::since(first_tick)).waits;
        Self::begin(out, Clock::since(first_tick), &names)
    }

    fn begin(mut out: W, clock: Clock, waits: &[String]) -> io::Result<Self> {
        out.write_all(MAGIC)?;
        out.write_all(&VERSION.to_le_bytes())?;
        let mut writer =
            Self { out, first_tick: clock.first, known: HashSet::new(), threads: 0, buffer: Vec::new() };
        writer.clock(clock)?;
        let mut names = Vec::new();
        waits.iter().for_each(|name| put_text(&mut names, name));
        writer.chunk(WAITS, &names)?;
        Ok(writer)
    }

    fn chunk(&mut self, tag: u8, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
        self.out.write_all(&[tag])?;
        self.out.write_all(&length.to_le_bytes())?;
        self.out.write_all(payload)
    }

    fn clock(&mut self, clock: Clock) -> io::Result<()> {
        let words = [clock.ns_per_tick.to_bits(), clock.first, clock.last];
        self.chunk(CLOCK, words.map(u64::to_le_bytes).as_flattened())
    }

    /// Describes a thread, if it is a new one. They come in order.
    pub(super) fn thread(&mut self, index: usize, label: &str, kind: ThreadKind) -> io::Result<()> {
        if index < self.threads {
            return Ok(());
        }
        self.threads = index + 1;
        let (kind, system, worker) = kind.words();
        let mut payload = Vec::new();
        payload.extend((index as u32).to_le_bytes());
        payload.push(kind);
        payload.extend(system.to_le_bytes());
        payload.extend(worker.to_le_bytes());
        put_text(&mut payload, label);
        self.chunk(THREAD, &payload)
    }

    fn place(&mut self, word: u64, place: &Place) -> io::Result<()> {
        let mut payload = Vec::new();
        payload.extend(word.to_le_bytes());
        payload.extend(place.line.to_le_bytes());
        payload.extend(place.column.to_le_bytes());
        put_text(&mut payload, &place.file);
        payload.push(u8::from(place.name.is_some()));
        place.name.iter().for_each(|name| put_text(&mut payload, name));
        self.chunk(PLACE, &payload)
    }

    /// Events of this process, whose places are described first.
    pub(super) fn events(&mut self, thread: usize, events: &[RawEvent]) -> io::Result<()> {
        for word in events.iter().filter_map(place_of) {
            if self.known.insert(word) {
                if let Some(place) = Place::of(word) {
                    self.place(word, &place)?;
                }
            }
        }
        self.known_events(thread, events)
    }

    fn known_events(&mut self, thread: usize, events: &[RawEvent]) -> io::Result<()> {
        // A chunk's length is a u32.
        for events in events.chunks(1 << 20) {
            let mut payload = std::mem::take(&mut self.buffer);
            payload.clear();
            payload.extend((thread as u32).to_le_bytes());
            events.iter().for_each(|event| payload.extend(event.map(u64::to_le_bytes).as_flattened()));
            self.chunk(EVENTS, &payload)?;
            self.buffer = payload;
        }
        Ok(())
    }

    pub(super) fn lost(&mut self, thread: usize, lost: u64) -> io::Result<()> {
        if lost == 0 {
            return Ok(());
        }
        let mut payload = Vec::new();
        payload.extend((thread as u32).to_le_bytes());
        payload.extend(lost.to_le_bytes());
        self.chunk(LOST, &payload)
    }

    /// How ticks become nanoseconds, as well as it is known now.
    pub(super) fn clock_now(&mut self) -> io::Result<()> {
        self.clock(Clock::since(self.first_tick))
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    pub(super) fn end(mut self) -> io::Result<()> {
        self.clock_now()?;
        self.chunk(END, &[])?;
        self.out.flush()
    }
}

fn put_text(payload: &mut Vec<u8>, text: &str) {
    payload.extend((text.len() as u32).to_le_bytes());
    payload.extend(text.as_bytes());
}

/// What is left to be read.
struct Cursor<'a> {
    bytes: &'a [u8],
    /// Bytes of the whole file up to the end of `bytes`.
    length: usize,
}

impl<'a> Cursor<'a> {
    fn damaged(&self, what: &'static str) -> LoadError {
        LoadError::Damaged { offset: self.length - self.bytes.len(), what }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], LoadError> {
        let (taken, rest) =
            self.bytes.split_at_checked(count).ok_or_else(|| self.damaged("it ends too early"))?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], LoadError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u8(&mut self) -> Result<u8, LoadError> {
        self.array().map(u8::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, LoadError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, LoadError> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Result<String, LoadError> {
        let length = self.u32()? as usize;
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| self.damaged("a text that is no UTF-8"))
    }

    /// The next whole chunk, if there is one.
    fn chunk(&mut self) -> Option<(u8, Cursor<'a>)> {
        let (&tag, rest) = self.bytes.split_first()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (payload, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let cursor = Cursor { bytes: payload, length: self.length - rest.len() };
        self.bytes = rest;
        Some((tag, cursor))
    }
}

//! Assets that stream in: a thread reads blocks, jobs decode them, frames take what is decoded.
//!
//! ```text
//! free ── reader ──> busy ── the job that decodes it ──> decoded ── the next frame ──> free
//! ```
//!
//! There is a fixed number of places. All that are free are filled at once, so the decoders always have a few blocks before
//! them; when no frames take anything any more, it all comes to rest. Results are handed over by an atomic and not by
//! a lock or a channel, because a decoder may be stopped at any moment by the operating system for the sake of more urgent threads.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use super::engine::Engine;

/// Places for assets, for each worker.
const PLACES_PER_WORKER: usize = 4;
/// What a packed block becomes, at least.
const BLOCK_BYTES: usize = 64 * 1024;
const BLOCKS: usize = 8;
/// The shortest piece that is repeated, and how many lengths there are.
const MATCH_LEAST: usize = 4;
const MATCH_LENGTHS: u64 = 24;
const LITERALS_MAX: u64 = 8;

const FREE: u8 = 0;
const BUSY: u8 = 1;
const DECODED: u8 = 2;

/// Blocks as they lie on a disk.
#[derive(Debug)]
pub(super) struct Archive {
    blocks: Vec<Vec<u8>>,
}

impl Archive {
    pub(super) fn new() -> Self {
        Self { blocks: (0..BLOCKS).map(|number| pack(number as u64 + 1)).collect() }
    }

    pub(super) fn block(&self, number: usize) -> &[u8] {
        &self.blocks[number % BLOCKS]
    }
}

/// Makes a packed block: commands, each of so many literal bytes and a piece to repeat from what is there already.
fn pack(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut draw = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let (mut packed, mut unpacked_bytes) = (Vec::new(), 0);
    while unpacked_bytes < BLOCK_BYTES {
        let literals = 1 + draw(LITERALS_MAX);
        packed.push(literals as u8);
        packed.extend((0..literals).map(|_| draw(256) as u8));
        unpacked_bytes += literals as usize;
        let distance = 1 + draw(unpacked_bytes.min(60_000) as u64);
        packed.extend((distance as u16).to_le_bytes());
        let length = MATCH_LEAST as u64 + draw(MATCH_LENGTHS);
        packed.push(length as u8);
        unpacked_bytes += length as usize;
    }
    packed
}

/// Unpacks a block.
fn unpack(mut packed: &[u8], bytes: &mut Vec<u8>) {
    bytes.clear();
    while let Some((&literals, rest)) = packed.split_first() {
        let (literal, rest) = rest.split_at(usize::from(literals));
        bytes.extend_from_slice(literal);
        let ([low, high, length], rest) = rest.split_first_chunk().expect("commands are complete");
        let from = bytes.len() - usize::from(u16::from_le_bytes([*low, *high]));
        // One after the other, because the piece may reach into what it makes.
        for index in from..from + usize::from(*length) {
            bytes.push(bytes[index]);
        }
        packed = rest;
    }
}

/// Decodes an asset, which is this block so many times, and returns its checksum (Adler's).
pub(super) fn decode(packed: &[u8], rounds: u32, bytes: &mut Vec<u8>) -> u64 {
    (0..rounds).fold(1, |sum, _| {
        unpack(packed, bytes);
        let (mut low, mut high) = (sum & 0xFFFF, sum >> 16);
        for run in bytes.chunks(4096) {
            for byte in run {
                low += u64::from(*byte);
                high += low;
            }
            (low, high) = (low % 65_521, high % 65_521);
        }
        high << 16 | low
    })
}

#[derive(Debug, Default)]
struct Place {
    /// [`FREE`], [`BUSY`] or [`DECODED`]; written by who holds the place, see the drawing above.
    state: AtomicU8,
    /// The checksum of what was decoded.
    sum: AtomicU64,
    /// Only the decoder of this place takes this lock.
    bytes: Mutex<Vec<u8>>,
}

/// The places, and what they are filled from.
#[derive(Debug)]
pub(super) struct Assets {
    archive: Archive,
    rounds: u32,
    places: Vec<Place>,
    /// Set once, at the end.
    stop: AtomicBool,
    /// Assets that frames have taken.
    taken: AtomicUsize,
    reader: OnceLock<Thread>,
}

impl Assets {
    pub(super) fn new(workers: usize, rounds: u32) -> Arc<Self> {
        Arc::new(Self {
            archive: Archive::new(),
            rounds,
            places: (0..PLACES_PER_WORKER * workers).map(|_| Place::default()).collect(),
            stop: AtomicBool::new(false),
            taken: AtomicUsize::new(0),
            reader: OnceLock::new(),
        })
    }

    /// Starts the thread that reads.
    pub(super) fn start(self: &Arc<Self>, engine: &Arc<impl Engine>) -> JoinHandle<()> {
        let (assets, engine) = (Arc::clone(self), Arc::clone(engine));
        let run = move || assets.read_all(&*engine);
        let reader =
            thread::Builder::new().name("reader".into()).spawn(run).expect("a thread can be started");
        self.reader.get_or_init(|| reader.thread().clone());
        reader
    }

    fn read_all(self: &Arc<Self>, engine: &impl Engine) {
        let mut number = 0;
        while !self.stop.load(Ordering::Acquire) {
            for (index, place) in self.places.iter().enumerate() {
                if place.state.load(Ordering::Acquire) == FREE {
                    place.state.store(BUSY, Ordering::Relaxed);
                    engine.background(Decode { assets: Arc::clone(self), place: index, number });
                    number += 1;
                }
            }
            // Until a frame has taken something. If it did so just now, this returns at once.
            thread::park();
        }
    }

    /// A frame takes what is decoded.
    pub(super) fn take(&self) {
        let mut taken = 0;
        for place in &self.places {
            // ORDERING: pairs with the end of `Decode::run`.
            if place.state.load(Ordering::Acquire) == DECODED {
                std::hint::black_box(place.sum.load(Ordering::Relaxed));
                // ORDERING: pairs with the reader.
                place.state.store(FREE, Ordering::Release);
                taken += 1;
            }
        }
        if taken > 0 {
            self.taken.fetch_add(taken, Ordering::Relaxed);
            if let Some(reader) = self.reader.get() {
                reader.unpark();
            }
        }
    }

    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Ends the reader, and waits until nothing is being decoded.
    pub(super) fn stop(&self, reader: JoinHandle<()>) {
        self.stop.store(true, Ordering::Release);
        reader.thread().unpark();
        reader.join().expect("the reader does not panic");
        while self.places.iter().any(|place| place.state.load(Ordering::Acquire) == BUSY) {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A block to be decoded: a job of the background.
#[derive(Debug)]
pub(super) struct Decode {
    assets: Arc<Assets>,
    place: usize,
    number: usize,
}

impl Decode {
    /// The job's whole body.
    pub(super) fn run(self) {
        let place = &self.assets.places[self.place];
        let mut bytes = place.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = decode(self.assets.archive.block(self.number), self.assets.rounds, &mut bytes);
        drop(bytes);
        place.sum.store(sum, Ordering::Relaxed);
        // ORDERING: pairs with `take`.
        place.state.store(DECODED, Ordering::Release);
    }
}

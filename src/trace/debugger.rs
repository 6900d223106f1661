//! What `tools/gdb/ramie.py` needs to know of this process.
//!
//! Programs are rarely built with descriptions of their types, and never are where it matters: in a core file from the field. So the script takes
//! nothing from them. It looks for one symbol, [`ramie_debugger_table`](TABLE), in which everything stands that it reads: where
//! the slots of fibers lie, at which offset each field is, and what the numbers in them mean.
//!
//! Three layouts are not ours to know: of a `Location`, of a `&str`, and of corosensei's `Coroutine`. They are measured when the first system is
//! built, on values of which the contents are known. What cannot be found stays [`UNKNOWN`], and the script shows addresses in its place.

#![expect(unsafe_code, reason = "a symbol for debuggers, and words of values whose layout is unknown")]

use crate::fiber::switch::Stackful;
use crate::fiber::{Fiber, WaitKind};
use crate::fiber_local::{JobLocals, LOCALS_TAG};
use crate::memory::node::{ID_MASK, Node};
use crate::memory::slots;
use crate::sched::worker::Remote;
use crate::trace::site::NAMED_LAYOUT;
use std::arch::asm;
use std::mem::MaybeUninit;
use std::panic::Location;
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// To be raised when a field changes its meaning; fields may be added at the end without that.
const VERSION: usize = 1;
/// The first word of the table.
const MAGIC: usize = usize::from_le_bytes(*b"ramiegdb");
/// The value of offsets that are not known.
const UNKNOWN: usize = usize::MAX;

const WORD_BYTES: usize = size_of::<usize>();

/// The script has the same list of fields, each a word, in the same order.
#[repr(C)]
struct Table {
    magic: usize,
    version: usize,
    /// Bytes of this table.
    table_bytes: usize,
    unknown: usize,
    // Slots.
    chunks: *const (),
    chunk_count: *const (),
    fibers_depot: *const (),
    id_mask: usize,
    index_bits: usize,
    chunk_base: usize,
    chunk_stride_bytes: usize,
    chunk_slot_count: usize,
    chunk_batch_slots: usize,
    chunk_ready: usize,
    chunk_depot: usize,
    // A fiber.
    fiber_bytes: usize,
    fiber_tag: usize,
    fiber_owner: usize,
    fiber_state: usize,
    fiber_wait_kind: usize,
    fiber_priority: usize,
    fiber_since: usize,
    fiber_wait_object: usize,
    fiber_wait_site: usize,
    fiber_site: usize,
    fiber_yielder: usize,
    fiber_coroutine: usize,
    tick_ns: usize,
    // Its worker.
    remote_system: usize,
    remote_index: usize,
    remote_thread_clock: usize,
    remote_current: usize,
    // Its job.
    locals_tag: usize,
    locals_site: usize,
    named_tag: usize,
    named_location: usize,
    named_name: usize,
    // Names: `Text`s.
    wait_kinds: *const Text,
    wait_kind_count: usize,
    states: *const Text,
    state_count: usize,
    priorities: *const Text,
    priority_count: usize,
    // Measured.
    /// Nanoseconds of `CLOCK_MONOTONIC` at the moment from which `fiber_since` counts.
    epoch_ns: AtomicUsize,
    /// In a coroutine; the word is 0 while it runs.
    stack_pointer: AtomicUsize,
    location_file: AtomicUsize,
    /// Of a `usize`; a zero at the file's end may be counted.
    location_file_length: AtomicUsize,
    location_line: AtomicUsize,
    location_column: AtomicUsize,
    str_pointer: AtomicUsize,
    str_length: AtomicUsize,
}

// SAFETY: the pointers are those of statics, and never followed in this process.
unsafe impl Sync for Table {}

#[repr(C)]
struct Text {
    bytes: *const u8,
    length: usize,
}

// SAFETY: as for `Table`.
unsafe impl Sync for Text {}

impl Text {
    const fn new(text: &'static str) -> Self {
        Self { bytes: text.as_ptr(), length: text.len() }
    }
}

static WAIT_KINDS: [Text; WaitKind::ALL.len()] = {
    let mut texts = [const { Text::new("") }; WaitKind::ALL.len()];
    let mut index = 0;
    while index < texts.len() {
        texts[index] = Text::new(WaitKind::ALL[index].description());
        index += 1;
    }
    texts
};

/// In the order of `FiberState`.
static STATES: [Text; 6] = [
    Text::new("vacant"),
    Text::new("idle"),
    Text::new("running"),
    Text::new("waiting"),
    Text::new("waiting"),
    Text::new("ready"),
];

/// In the order of `Priority`.
static PRIORITIES: [Text; 4] =
    [Text::new("Background"), Text::new("Low"), Text::new("Normal"), Text::new("High")];

/// See the [module](self).
#[used]
#[unsafe(export_name = "ramie_debugger_table")]
static TABLE: Table = Table {
    magic: MAGIC,
    version: VERSION,
    table_bytes: size_of::<Table>(),
    unknown: UNKNOWN,
    chunks: slots::tables().0,
    chunk_count: slots::tables().1,
    fibers_depot: Fiber::depot_address(),
    id_mask: ID_MASK as usize,
    index_bits: slots::LAYOUT.index_bits,
    chunk_base: slots::LAYOUT.base,
    chunk_stride_bytes: slots::LAYOUT.stride_bytes,
    chunk_slot_count: slots::LAYOUT.slot_count,
    chunk_batch_slots: slots::LAYOUT.batch_slots,
    chunk_ready: slots::LAYOUT.ready,
    chunk_depot: slots::LAYOUT.depot,
    fiber_bytes: size_of::<Fiber>(),
    fiber_tag: Node::TAG_OFFSET,
    fiber_owner: Fiber::LAYOUT.owner,
    fiber_state: Fiber::LAYOUT.state,
    fiber_wait_kind: Fiber::LAYOUT.wait_kind,
    fiber_priority: Fiber::LAYOUT.priority,
    fiber_since: Fiber::LAYOUT.since,
    fiber_wait_object: Fiber::LAYOUT.wait_object,
    fiber_wait_site: Fiber::LAYOUT.wait_site,
    fiber_site: Fiber::LAYOUT.site,
    fiber_yielder: Fiber::LAYOUT.context + Stackful::YIELDER_OFFSET,
    fiber_coroutine: Fiber::LAYOUT.context + Stackful::COROUTINE_OFFSET,
    tick_ns: Fiber::LAYOUT.tick_ns,
    remote_system: Remote::LAYOUT.system,
    remote_index: Remote::LAYOUT.index,
    remote_thread_clock: Remote::LAYOUT.thread_clock,
    remote_current: Remote::LAYOUT.current,
    locals_tag: LOCALS_TAG,
    locals_site: JobLocals::SITE_OFFSET,
    named_tag: NAMED_LAYOUT.tag,
    named_location: NAMED_LAYOUT.location,
    named_name: NAMED_LAYOUT.name,
    wait_kinds: (&raw const WAIT_KINDS).cast(),
    wait_kind_count: WAIT_KINDS.len(),
    states: (&raw const STATES).cast(),
    state_count: STATES.len(),
    priorities: (&raw const PRIORITIES).cast(),
    priority_count: PRIORITIES.len(),
    epoch_ns: AtomicUsize::new(UNKNOWN),
    stack_pointer: AtomicUsize::new(UNKNOWN),
    location_file: AtomicUsize::new(UNKNOWN),
    location_file_length: AtomicUsize::new(UNKNOWN),
    location_line: AtomicUsize::new(UNKNOWN),
    location_column: AtomicUsize::new(UNKNOWN),
    str_pointer: AtomicUsize::new(UNKNOWN),
    str_length: AtomicUsize::new(UNKNOWN),
};

/// Measures what can be measured without a fiber. Called for every system; done once.
pub(crate) fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        note_epoch();
        let text = "a text of which the length is not a pointer";
        let words = words_of(&text);
        TABLE.str_pointer.store(offset_of_word(&words, text.as_ptr().addr()), Ordering::Relaxed);
        TABLE.str_length.store(offset_of_word(&words, text.len()), Ordering::Relaxed);
        note_locations(here(), {
            // Another line and another column.
            here()
        });
    });
}

#[track_caller]
fn here() -> &'static Location<'static> {
    Location::caller()
}

fn note_epoch() {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let since = super::process_epoch().at.elapsed();
    // SAFETY: the call writes to `time`.
    if unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) } == 0 {
        let now_ns = time.tv_sec as usize * 1_000_000_000 + time.tv_nsec as usize;
        TABLE.epoch_ns.store(now_ns.saturating_sub(since.as_nanos() as usize), Ordering::Relaxed);
    }
}

/// Notes where a location's parts lie: only places at which both locations have what they should.
fn note_locations(one: &Location<'_>, other: &Location<'_>) {
    const HALF_BYTES: usize = size_of::<u32>();
    let (ones, others) = (words_of(one), words_of(other));
    let word = |wanted: fn(&Location<'_>, usize) -> bool| {
        let found = (0..ones.len()).find(|&at| wanted(one, ones[at]) && wanted(other, others[at]));
        found.map_or(UNKNOWN, |at| at * WORD_BYTES)
    };
    let half = |wanted: fn(&Location<'_>) -> u32| {
        let half_of = |words: &[usize], at: usize| (words[at / 2] >> (at % 2 * 32)) as u32;
        let mut found = (0..ones.len() * 2)
            .filter(|&at| half_of(&ones, at) == wanted(one) && half_of(&others, at) == wanted(other));
        found.next().map_or(UNKNOWN, |at| at * HALF_BYTES)
    };
    let table = &TABLE;
    let file = word(|location, word| word == location.file().as_ptr().addr());
    let length = word(|location, word| word.wrapping_sub(location.file().len()) <= 1);
    table.location_file.store(file, Ordering::Relaxed);
    table.location_file_length.store(length, Ordering::Relaxed);
    table.location_line.store(half(|location| location.line()), Ordering::Relaxed);
    table.location_column.store(half(|location| location.column()), Ordering::Relaxed);
}

fn offset_of_word(words: &[usize], wanted: usize) -> usize {
    words.iter().position(|&word| word == wanted).map_or(UNKNOWN, |at| at * WORD_BYTES)
}

/// Whether the caller, who has a stack, is to measure where coroutines keep their stack pointer. Says so once.
#[inline]
pub(crate) fn needs_stack_pointer() -> bool {
    static MEASURED: AtomicBool = AtomicBool::new(false);
    !MEASURED.load(Ordering::Relaxed) && !MEASURED.swap(true, Ordering::Relaxed)
}

/// The words of a coroutine that has not started, and when it was told that it will not: one has become 0.
pub(crate) fn note_stack_pointer(before: &[usize], after: &[usize]) {
    let mut changed = (0..before.len()).filter(|&at| before[at] != after[at]);
    if let (Some(at), None) = (changed.next(), changed.next()) {
        if after[at] == 0 {
            TABLE.stack_pointer.store(at * WORD_BYTES, Ordering::Relaxed);
        }
    }
}

/// The words at these places of a fiber: the stack pointer that it was suspended with, 0 while it runs, and the address of its
/// yielder, 0 before it has started. `None` if the first place is not known.
#[cfg(feature = "backtrace")]
pub(super) fn saved_words(fiber: &Fiber) -> Option<(usize, usize)> {
    let at = TABLE.stack_pointer.load(Ordering::Relaxed);
    if at == UNKNOWN {
        return None;
    }
    let word = |offset| {
        // SAFETY: both are words of the fiber, in a slot that lives for ever.
        unsafe { read_word(ptr::from_ref(fiber).cast::<u8>().wrapping_add(offset).cast()) }
    };
    Some((word(TABLE.fiber_coroutine + at), word(TABLE.fiber_yielder)))
}

/// The words that a value consists of, padding included, for which there may be any number.
pub(crate) fn words_of<T>(value: &T) -> Vec<usize> {
    const { assert!(size_of::<T>() % WORD_BYTES == 0 && align_of::<T>() % WORD_BYTES == 0) };
    let first = ptr::from_ref(value).cast::<MaybeUninit<usize>>();
    // SAFETY: the words lie in the value.
    (0..size_of::<T>() / WORD_BYTES).map(|index| unsafe { read_word(first.add(index)) }).collect()
}

/// Reads a word that may be uninitialised, or be written by another thread at this moment, in the eyes of the compiler.
///
/// # Safety
///
/// There is a word at this address that can be read.
pub(crate) unsafe fn read_word(address: *const MaybeUninit<usize>) -> usize {
    let word;
    // SAFETY: promised by the caller; an instruction reads whatever is there.
    unsafe {
        asm!("mov {}, [{}]", out(reg) word, in(reg) address, options(nostack, preserves_flags, readonly))
    };
    word
}

//! Events as they stand in rings: four words.
//!
//! ```text
//!   0   time, in ticks
//!   1   kind (8 bits), detail (8), system (16), fiber or 0 (32)
//!   2   a place: `SiteRef` or `Location`, as the kind says; or a number
//!   3   a number
//! ```

use super::record;
use super::ring::RawEvent;
use super::site::SiteRef;
use super::{deadlock, hooks};
use crate::fiber::Fiber;
use crate::fiber_local::JobLocals;
use crate::job::JobRef;
use crate::memory::node::Node;
use crate::sched::current;
use crate::sched::priority::Priority;
use crate::sched::worker::Worker;
use crate::sync::held;
use crate::topology::StealKind;
use std::ptr;

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A job can be started by a worker of the event's system, which need not be the thread's. Lacks if the job that queues it has begun before the recording and has not
    /// waited since, or started another one. Detail: priority; place: spawn site; number: the job's block.
    Queued = 1,
    /// A job has begun on a fiber. As above, and [`OUTERMOST`]; the number is 0 for what was never queued.
    JobStart,
    /// The innermost job of a fiber has ended. Detail: 1 if it panicked. Lacks if the recording began after its last start or resumption.
    JobEnd,
    /// A fiber is about to suspend. Detail: the wait's kind; place: where it waits; number: what it waits for.
    Suspend,
    /// A fiber goes on. Place: the spawn site of its job.
    Resume,
    /// Somebody has woken the fiber whose number is the number.
    Wake,
    /// Jobs were stolen. Detail: the distance; place: how many, a number; number: from which worker.
    Steal,
    /// A worker goes to sleep.
    Park,
    /// It has woken up.
    Unpark,
    /// Place: a number, the frame's.
    Frame,
    /// Place: a `SiteRef` with the name.
    SpanBegin,
    SpanEnd,
    /// Place: a `SiteRef` with the name; number: the bits of an `f64`.
    Value,
    /// A job ends without having begun. Number: its block.
    JobDropped,
}

impl Kind {
    const ALL: [Kind; 14] = [
        Kind::Queued,
        Kind::JobStart,
        Kind::JobEnd,
        Kind::Suspend,
        Kind::Resume,
        Kind::Wake,
        Kind::Steal,
        Kind::Park,
        Kind::Unpark,
        Kind::Frame,
        Kind::SpanBegin,
        Kind::SpanEnd,
        Kind::Value,
        Kind::JobDropped,
    ];

    /// What a recorded event is; `None` if it is of a version that knows more.
    pub(super) fn of(event: &RawEvent) -> Option<Self> {
        let number = event[1] as u8;
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// In the detail of a job's start: it runs inside of no other.
pub(super) const OUTERMOST: u8 = 0x80;

/// Writes an event of the calling thread.
fn emit(kind: Kind, detail: u8, fiber: u32, place: u64, number: u64) {
    let system = current::worker().map_or(0, |worker| worker.system().index);
    emit_in(system, kind, detail, fiber, place, number);
}

/// The same, if it is about another system than the thread's.
fn emit_in(system: u32, kind: Kind, detail: u8, fiber: u32, place: u64, number: u64) {
    let what = kind as u64 | u64::from(detail) << 8 | u64::from(system as u16) << 16 | u64::from(fiber) << 32;
    record::write(current::worker().is_some(), [record::ticks(), what, place, number]);
}

fn word_of(site: SiteRef) -> u64 {
    site.into_raw().expose_provenance() as u64
}

/// The number of the running fiber, if there is one.
fn fiber_here() -> u32 {
    current::worker()
        .filter(|worker| worker.in_fiber())
        .map_or(0, |worker| worker.current_fiber().node().id())
}

/// A job is about to be queued. PERF: before the push, after which it may be gone.
#[inline(always)]
pub(crate) fn job_queued(job: JobRef, priority: Priority, system: impl FnOnce() -> u32) {
    if hooks::records() {
        job_queued_slow(job, priority, system());
    }
}

#[cold]
#[inline(never)]
fn job_queued_slow(job: JobRef, priority: Priority, system: u32) {
    // Halves of joins are mostly taken back by whoever pushes them.
    if let Some((block, site)) = job.block_and_site() {
        emit_in(system, Kind::Queued, priority as u8, fiber_here(), word_of(site), block as u64);
    }
}

/// A job begins on its worker's fiber. `block`: what it was queued as, or 0; `outer`: the word of the job inside of which it runs, or null.
#[cold]
#[inline(never)]
pub(crate) fn job_started(
    worker: &'static Worker,
    site: SiteRef,
    block: usize,
    group: usize,
    outer: *mut (),
) -> (&'static Worker, *mut ()) {
    worker.notice_hooks();
    if worker.hooks() & hooks::AT_START == 0 {
        return (worker, outer);
    }
    let fiber = worker.current_fiber();
    if outer.is_null() {
        held::forget();
    }
    if deadlock::is_enabled() {
        deadlock::job_started(fiber.node().id(), block, group);
    }
    if hooks::records() {
        let outermost = if outer.is_null() { OUTERMOST } else { 0 };
        let detail = fiber.priority() as u8 | outermost;
        emit(Kind::JobStart, detail, fiber.node().id(), word_of(site), block as u64);
    }
    #[cfg(all(feature = "tracy", not(any(shuttle, loom))))]
    super::tracy::enter(worker, fiber);
    let _locals = JobLocals::watch(fiber);
    #[cfg(all(feature = "tracy", not(any(shuttle, loom))))]
    super::tracy::begin(worker, &_locals.zone, site);
    (worker, outer)
}

/// A job that is [watched](JobLocals::watch) has ended on its fiber.
#[cold]
#[inline(never)]
pub(crate) fn job_ended(fiber: &Fiber, has_panicked: bool) {
    if deadlock::is_enabled() {
        deadlock::job_ended(fiber.node().id());
    }
    if hooks::records() {
        emit(Kind::JobEnd, u8::from(has_panicked), fiber.node().id(), 0, 0);
    }
}

/// A job is dropped that was not started.
pub(crate) fn job_dropped(block: usize) {
    if hooks::records() {
        emit(Kind::JobDropped, 0, fiber_here(), 0, block as u64);
    }
}

/// The running fiber is about to suspend.
#[cold]
#[inline(never)]
pub(crate) fn suspends(fiber: &Fiber) {
    let (kind, object, site, _) = fiber.wait();
    let place = site.map_or(0, |site| ptr::from_ref(site).expose_provenance() as u64);
    emit(Kind::Suspend, kind as u8, fiber.node().id(), place, u64::from(object));
}

/// A worker's root is about to switch to a fiber.
#[cold]
#[inline(never)]
pub(crate) fn resumes(fiber: &Fiber) {
    if !hooks::records() {
        return;
    }
    // A fiber without a job looks for one.
    let site = fiber.site();
    if site != SiteRef::NONE {
        JobLocals::watch(fiber);
        emit(Kind::Resume, fiber.priority() as u8, fiber.node().id(), word_of(site), 0);
    }
}

/// Somebody is about to wake what waits behind this node.
#[inline(always)]
pub(crate) fn wakes(node: &Node) {
    if hooks::records() {
        wakes_slow(node);
    }
}

#[cold]
#[inline(never)]
fn wakes_slow(node: &Node) {
    emit(Kind::Wake, 0, fiber_here(), 0, u64::from(node.id()));
}

pub(crate) fn stole(kind: StealKind, victim: usize, count: usize) {
    if hooks::records() {
        emit(Kind::Steal, kind as u8, 0, count as u64, victim as u64);
    }
}

pub(crate) fn parks() {
    if hooks::records() {
        emit(Kind::Park, 0, 0, 0, 0);
    }
}

pub(crate) fn unparked() {
    if hooks::records() {
        emit(Kind::Unpark, 0, 0, 0, 0);
    }
}

#[cold]
#[inline(never)]
pub(crate) fn frame(number: u64) {
    emit(Kind::Frame, 0, fiber_here(), number, 0);
}

#[cold]
#[inline(never)]
pub(crate) fn span(kind: Kind, name: SiteRef) {
    emit(kind, 0, fiber_here(), word_of(name), 0);
}

#[cold]
#[inline(never)]
pub(crate) fn value(name: SiteRef, value: f64) {
    emit(Kind::Value, 0, fiber_here(), word_of(name), value.to_bits());
}

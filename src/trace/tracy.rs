//! Fibers and jobs in the profiler [Tracy](https://github.com/wolfpld/tracy): the feature `tracy`.
//!
//! Tracy draws a track for each thread, and, if it is told, one for each fiber. A worker's root tells it which fiber the thread goes on with, and when it comes back
//! from that; so what is open on a fiber when it suspends, be it a job's zone or one of the program's own, stays open on the fiber's track. Jobs run on fibers one after
//! the other without any switch, so the first job on a fiber that Tracy does not know of yet tells it as well.

#![expect(unsafe_code, reason = "calls Tracy, whose interface is that of C")]

use super::hooks;
use super::site::SiteRef;
use crate::fiber::Fiber;
use crate::sched::current;
use crate::sched::worker::Worker;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, CString, c_char};
use std::ptr;
use std::sync::{Mutex, PoisonError};
use tracy_client::{Client, sys};

/// The zone of a job.
#[derive(Default)]
pub(crate) struct Zone(Cell<Option<sys::___tracy_c_zone_context>>);

/// From now on [Tracy](https://github.com/wolfpld/tracy) shows fibers, the jobs that run on them, and the frames that are
/// [marked](crate::trace::mark_frame); for the rest of the process. Starts Tracy's client if it does not run, which listens on the port that the environment variable
/// `TRACY_PORT` names, 8086 by default.
///
/// Zones of the program's own, by `tracy_client` or a layer of `tracing`, follow their fibers then. Nothing is collected before a profiler has connected.
///
/// Tracy is called twice at each switch, and twice for a job, whose place it copies. While no profiler is connected that costs about 80 ns a job and 60 ns a switch
/// (`ramie-bench recording`, built with its feature `tracy`); Tracy's manual says that with fibers it must keep the events of all threads in order, which costs more once one is. Where that is
/// too much, a [recording](crate::trace::record) tells the same afterwards.
///
/// Needs the feature `tracy`, and a C++ compiler to build Tracy's client.
pub fn show_in_tracy() {
    Client::start();
    hooks::set(hooks::SHOWS, true);
}

fn is_wanted() -> bool {
    hooks::wanted() & hooks::SHOWS != 0
}

/// A worker goes on with this fiber, on its thread, if it has not been told already.
pub(crate) fn enter(worker: &Worker, fiber: &Fiber) {
    if is_wanted() && !worker.is_in_tracys_fiber.replace(true) {
        // SAFETY: names live for ever. The client runs since `show_in_tracy`.
        unsafe { sys::___tracy_fiber_enter(name_of(fiber.node().id()).as_ptr()) };
    }
}

/// What Tracy calls a fiber; it knows it by the address of this.
#[inline(never)]
fn name_of(fiber: u32) -> &'static CStr {
    static ALL: Mutex<BTreeMap<u32, &'static CStr>> = Mutex::new(BTreeMap::new());
    thread_local! {
        // Those that this thread has resumed before: mostly its worker's own.
        static KNOWN: RefCell<HashMap<u32, &'static CStr>> = RefCell::default();
    }
    let make = || -> &'static CStr {
        let name = CString::new(format!("fiber {fiber}")).expect("there is no zero in it");
        Box::leak(name.into_boxed_c_str())
    };
    let find = || *ALL.lock().unwrap_or_else(PoisonError::into_inner).entry(fiber).or_insert_with(make);
    KNOWN.with_borrow_mut(|known| *known.entry(fiber).or_insert_with(find))
}

/// The thread is the worker's root's again.
#[cold]
pub(crate) fn leave(worker: &Worker) {
    worker.is_in_tracys_fiber.set(false);
    // SAFETY: as in `enter`, which this one is for.
    unsafe { sys::___tracy_fiber_leave() };
}

/// A job begins on the fiber that Tracy knows the thread to be on.
pub(super) fn begin(worker: &Worker, zone: &Zone, site: SiteRef) {
    if !is_wanted() {
        return;
    }
    debug_assert!(worker.is_in_tracys_fiber.get(), "its zone would be the thread's");
    let (file, line) = site.location().map_or(("", 0), |place| (place.file(), place.line()));
    let (name, function) = (site.name(), "job");
    let text = |text: &str| -> *const c_char { text.as_ptr().cast() };
    // SAFETY: Tracy copies the texts, which have these lengths; the zone is given what was allocated for it.
    let begun = unsafe {
        let place = sys::___tracy_alloc_srcloc_name(
            line,
            text(file),
            file.len(),
            text(function),
            function.len(),
            name.map_or(ptr::null(), text),
            name.map_or(0, str::len),
            0,
        );
        sys::___tracy_emit_zone_begin_alloc(place, 1)
    };
    let before = zone.0.replace(Some(begun));
    debug_assert!(before.is_none(), "a zone that was begun was ended");
}

/// The job has ended, innermost on its fiber.
pub(crate) fn end(zone: &Zone) {
    if let Some(begun) = zone.0.take() {
        debug_assert!(
            current::worker().is_some_and(|worker| worker.is_in_tracys_fiber.get()),
            "it ends on the fiber that it began on"
        );
        // SAFETY: made by `begin`, ended once, and on the same fiber.
        unsafe { sys::___tracy_emit_zone_end(begun) };
    }
}

pub(super) fn frame() {
    if is_wanted() {
        if let Some(client) = Client::running() {
            client.frame_mark();
        }
    }
}

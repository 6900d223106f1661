//! Which systems there are. Looked at in rare cases only: reports, dumps, ends of jobs elsewhere.

use super::core::SystemCore;
use crate::error::{PanicKind, PanicReport, Payload, complain};
use crate::job::header::SYSTEM_INDEX_MAX;
use crate::sched::current;
use crate::trace::site::SiteRef;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

static SYSTEMS: Mutex<Vec<(u32, Weak<SystemCore>)>> = Mutex::new(Vec::new());
static NEXT_INDEX: AtomicU32 = AtomicU32::new(1);

/// An index that no system in this process has had.
///
/// # Panics
///
/// When there is none left, then and ever after: a `WorkerLocal` must not take another system's workers for its own.
pub(super) fn next_index() -> u32 {
    let next = |index: u32| (index <= SYSTEM_INDEX_MAX).then_some(index + 1);
    match NEXT_INDEX.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
        Ok(index) => index,
        Err(_) => panic!("ramie: more than {SYSTEM_INDEX_MAX} job systems were built in this process"),
    }
}

pub(super) fn register(core: &Arc<SystemCore>) {
    let mut systems = SYSTEMS.lock().unwrap_or_else(PoisonError::into_inner);
    systems.retain(|(_, system)| system.strong_count() > 0);
    systems.push((core.index, Arc::downgrade(core)));
}

pub(crate) fn find(index: u32) -> Option<Arc<SystemCore>> {
    let systems = SYSTEMS.lock().unwrap_or_else(PoisonError::into_inner);
    systems.iter().find(|(known, _)| *known == index)?.1.upgrade()
}

/// Calls `f` with every system that has not ended.
pub(crate) fn for_each_system(mut f: impl FnMut(&SystemCore)) {
    let systems: Vec<_> = {
        let systems = SYSTEMS.lock().unwrap_or_else(PoisonError::into_inner);
        systems.iter().filter_map(|(_, system)| system.upgrade()).collect()
    };
    for system in systems {
        f(&system);
    }
}

/// Calls `f` with the system of this index, if it has not ended.
pub(crate) fn with_system(index: u32, f: impl FnOnce(&SystemCore)) {
    if let Some(core) = find(index) {
        f(&core);
    }
}

/// Counts the end of a job of this system that no worker took out of a queue.
pub(crate) fn count_finished_elsewhere(index: u32) {
    if let Some(core) = find(index) {
        core.count_finished_outside();
    }
}

/// Hands a panic that nobody took to its system's `on_panic`, or prints it.
#[cold]
pub(crate) fn report_panic(index: u32, kind: PanicKind, site: SiteRef, payload: Payload) {
    let _bound = current::bind_fiber();
    let core = find(index);
    let handler = core.as_ref().and_then(|core| core.config.on_panic.as_ref());
    let report = PanicReport::new(kind, site, &*payload);
    match handler {
        Some(handler) => {
            if catch_unwind(AssertUnwindSafe(|| handler(&report))).map_err(std::mem::forget).is_err() {
                complain!("ramie: the on_panic callback panicked");
            }
        }
        None => {
            let message = report.message().unwrap_or("(its payload is not text)");
            let what = match kind {
                PanicKind::DetachedJob => "a detached job panicked",
                PanicKind::Destructor => "a destructor panicked while ramie dropped a value",
                PanicKind::Callback => "a callback panicked",
                PanicKind::FrameStage { stage: Some(stage), frame } => {
                    &format!("stage '{stage}' of frame {frame} panicked")
                }
                PanicKind::FrameStage { stage: None, frame } => &format!("frame {frame} panicked"),
            };
            complain!("ramie: {what}: {message} ({site})");
        }
    }
    // The payload itself may panic when it is dropped; what that is raised with is leaked rather than dropped again.
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
        complain!("ramie: the payload of a panic panicked when it was dropped ({site})");
    }
}

//! `broadcast`: a call on every worker.

#![expect(unsafe_code, reason = "runs closures that borrow, and collects their results in place")]

use super::core::SystemCore;
use crate::config::Builder;
use crate::counter::group::Group;
use crate::error::NoUnwind;
use crate::fiber::{RunningJob, WaitKind};
use crate::job::{self, Extras, NewJob, Owner};
use crate::sched::current;
use crate::sched::priority::Priority;
use crate::sched::worker::Worker;
use crate::trace::site::SiteRef;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

/// Calls `f` on every worker.
pub(crate) fn broadcast_in<F, R>(core: &SystemCore, site: &'static Location<'static>, f: F) -> Vec<R>
where
    F: Fn() -> R + Sync,
    R: Send,
{
    let worker = current::worker();
    core.assert_accepts("broadcast", worker);
    let own = worker.filter(|worker| worker.belongs_to(core) && worker.in_fiber());
    // A Background worker is none of those that are meant.
    let in_place = own.filter(|own| !own.is_background());
    let guard = NoUnwind("broadcast");
    let group = Group::new();
    let results = Results::new(core.workers());
    for index in 0..core.workers() {
        let (f, results) = (&f, &results);
        let call = move || {
            let value = f();
            // SAFETY: there is one call for each index.
            unsafe { results.put(index, value) };
        };
        if own.is_none() && !core.begin_submission() {
            group.note_abandoned();
            break;
        }
        if in_place.is_some_and(|own| own.index() == index) {
            // In place, below: this very call may keep the worker from anything else.
            continue;
        }
        group.add_member(worker);
        current::with_caches(|caches| {
            let priority = own.map_or(Priority::Normal, Worker::priority).max(Priority::Low);
            let new = NewJob {
                caches,
                tag: job::header::job_tag(core.index, priority),
                group: &raw const group,
                site: SiteRef::unnamed(site),
                owner: Owner::Nobody,
            };
            // SAFETY: what the closure borrows lives until the group's wait below is over.
            let job = unsafe { job::create_with_extras(&new, Extras::pinned_to(index), false, None, call) };
            if let Some(own) = own {
                own.count_submitted(1);
            }
            core.deliver(index, job);
        });
    }
    if in_place.is_some_and(|own| !own.starts_jobs()) {
        group.note_abandoned();
    } else if let Some(own) = in_place {
        let (index, site) = (own.index(), SiteRef::unnamed(site));
        let running = RunningJob::begin(own, site, 0, || 0);
        let _bound = current::bind_fiber();
        let result = catch_unwind(AssertUnwindSafe(&f));
        running.end(result.is_err());
        match result {
            // SAFETY: the call of this index.
            Ok(value) => unsafe { results.put(index, value) },
            Err(payload) => group.take_panic(payload, core.index, site),
        }
    }
    group.wait(WaitKind::Scope, site);
    guard.passed();
    let panic = group.first_panic();
    if panic.is_none() && !group.was_abandoned() {
        return results.into_vec();
    }
    results.drop_each(|value| job::drop_guarded(value, core.index, SiteRef::unnamed(site)));
    match panic {
        Some(payload) => resume_unwind(payload),
        None => panic!("a call of `broadcast` was abandoned by a shutdown of its system"),
    }
}

/// A result for each worker, written by that worker.
struct Results<R> {
    /// The vector's buffer is written behind its length, which is 0.
    values: Vec<R>,
    start: *mut R,
    count: usize,
    /// A bit for each result that is there. Set by whoever wrote it; read after the group's wait, which orders it.
    written: [AtomicU64; Builder::WORKERS_MAX / 64],
}

// SAFETY: shared, results are only put in, each by one thread and at a place of its own.
unsafe impl<R: Send> Sync for Results<R> {}

impl<R> Results<R> {
    fn new(count: usize) -> Self {
        assert!(count <= Builder::WORKERS_MAX);
        let mut values = Vec::with_capacity(count);
        let start = values.as_mut_ptr();
        Self { values, start, count, written: [const { AtomicU64::new(0) }; Builder::WORKERS_MAX / 64] }
    }

    /// # Safety
    ///
    /// `index` is below the count, and this is the only call with it.
    unsafe fn put(&self, index: usize, value: R) {
        // SAFETY: the buffer has room for `count` values; nobody else uses this one's place.
        unsafe { self.start.add(index).write(value) };
        self.written[index / 64].fetch_or(1 << (index % 64), Ordering::Relaxed);
    }

    fn is_written(&self, index: usize) -> bool {
        self.written[index / 64].load(Ordering::Relaxed) & 1 << (index % 64) != 0
    }

    fn into_vec(mut self) -> Vec<R> {
        assert!((0..self.count).all(|index| self.is_written(index)), "every call has returned");
        // SAFETY: the capacity is at least that, and all are written.
        unsafe { self.values.set_len(self.count) };
        self.values
    }

    fn drop_each(self, mut drop: impl FnMut(R)) {
        for index in (0..self.count).filter(|index| self.is_written(*index)) {
            // SAFETY: it was written, and `self` is gone after this.
            drop(unsafe { self.start.add(index).read() });
        }
    }
}

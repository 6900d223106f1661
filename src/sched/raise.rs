//! Raising: a job that has not been started becomes as urgent as the job that waits for it.
//!
//! The priority of a job that any worker may run is that of the queue it lies in, so it is raised by moving its one
//! entry: out of a deque by the same steal as ever, into the own deque of the higher priority. Whatever else
//! comes out on the way goes into the own deque of its old priority. So there are no duplicates, and nothing that
//! a consumer would have to check. Jobs that only one worker may run, and continuations, note their new priority in the
//! header.

#![expect(unsafe_code, reason = "takes jobs out of queues")]

use super::current;
use super::deque::Steal;
use super::priority::Priority;
use super::queue::Queue;
use super::worker::Worker;
use crate::counter::group::Group;
use crate::job::{JobPtr, JobRef, storage};
use crate::primitives::spin_loop;

/// What a look through a queue has room for from the beginning.
const ASIDE_MIN: usize = 256;

impl Worker {
    /// Raises every job that any worker could take, has at least the priority `least`, and is `wanted`.
    #[cold]
    pub(crate) fn raise_all(&self, least: Priority, to: Priority, wanted: impl Fn(JobRef) -> bool) {
        for from in Priority::DESCENDING.into_iter().filter(|&from| least <= from && from < to) {
            self.sweep(from, |job| {
                if wanted(job) {
                    self.push_at(job, to);
                    None
                } else {
                    Some(job)
                }
            });
        }
    }

    /// Raises those members of `group` that only one worker may run, and those that are held back by counters, by
    /// looking at every block there is.
    #[cold]
    pub(crate) fn raise_bound(&self, group: *const Group, to: Priority) {
        let core = self.system();
        storage::for_each_block(|job| {
            job.header().raise_member(to, core.index, group);
        });
        (0..core.workers()).for_each(|worker| core.look_at_pinned(worker));
    }

    /// Fetches a job from wherever any worker could take it, or from among the own pinned ones.
    #[cold]
    pub(crate) fn fetch(&self, wanted: impl Fn(JobRef) -> bool) -> Option<JobRef> {
        self.poll_inbox();
        let mut found = None;
        for queue in &self.pinned {
            let others = Queue::new();
            while let Some(node) = queue.pop() {
                // SAFETY: the pinned queues hold jobs in their slots, which this thread owns once they are out.
                unsafe {
                    let job = JobRef::from(JobPtr::from_node(node));
                    if found.is_none() && wanted(job) {
                        found = Some(job);
                    } else {
                        others.append(node, node);
                    }
                }
            }
            queue.take_over(&others);
        }
        // A Background worker takes nothing out of the queues of the others, not for a moment.
        let priorities = if self.is_background() { self.priorities() } else { &Priority::DESCENDING };
        for &priority in priorities {
            if found.is_none() {
                self.sweep(priority, |job| {
                    if found.is_none() && wanted(job) {
                        found = Some(job);
                        None
                    } else {
                        Some(job)
                    }
                });
            }
        }
        found
    }

    /// Calls `look` with everything of this priority that any worker could take. What it gives back goes into
    /// the own deque of this priority. What is pushed meanwhile may be missed.
    fn sweep(&self, priority: Priority, mut look: impl FnMut(JobRef) -> Option<JobRef>) {
        let mut aside = self.aside.take();
        // Once, and again only if more lies in a queue than ever before.
        aside.reserve(ASIDE_MIN);
        while let Some(job) = self.pop_at(priority) {
            aside.extend(look(job));
        }
        for job in aside.drain(..).rev() {
            self.push_at(job, priority);
        }
        self.system().injector(priority).take_all(|node| {
            // SAFETY: the injector holds jobs and fibers in their slots.
            aside.extend(look(unsafe { JobRef::from_injected(node) }));
        });
        for (index, remote) in self.system().remotes.iter().enumerate() {
            if index == self.index() {
                continue;
            }
            let deque = remote.deque(priority);
            // What others have no place for is left to Background workers.
            let is_foreign = priority == Priority::Background && !self.is_background();
            let steal = || if is_foreign { deque.steal_if(JobRef::is_raw_known) } else { deque.steal() };
            // No more than there were: its owner may push on and on.
            let mut left = deque.len();
            while left > 0 {
                match steal() {
                    Steal::Item(raw) => {
                        left -= 1;
                        // SAFETY: only jobs are pushed, and this thread has just taken this one.
                        aside.extend(look(unsafe { JobRef::from_raw(raw) }));
                    }
                    Steal::Retry => spin_loop(),
                    Steal::Empty => break,
                }
            }
        }
        for job in aside.drain(..) {
            self.push_at(job, priority);
        }
        self.aside.set(aside);
    }
}

/// Raises a job that has not been started, and that the caller waits for but cannot run in place, to the priority of the
/// calling job.
#[cold]
pub(crate) fn raise_to_mine(job: JobPtr) {
    let Some(worker) = current::worker().filter(|worker| worker.in_fiber()) else { return };
    let header = job.header();
    let before = header.priority();
    if !header.raise(worker.priority()) {
        return;
    }
    crate::system::with_system(header.system(), |core| match job.pinned_to() {
        Some(index) => core.look_at_pinned(index),
        // Another system's, where this thread has no deque to move it to.
        None => core.reinject(job, before, worker.priority()),
    });
}

//! `CancelToken`: tells jobs, and those who wait, to stop.
//!
//! A token knows, under one lock, who waits for something with it in hand, which unstarted jobs it has, and its children. To cancel is to
//! set the flag and to claim waiters and jobs, under the lock, of each token of the tree; then all the waiters are woken, and at last the jobs dropped. Whoever comes
//! later sees the flag under the same lock. A waiter is woken by whoever wins its claim word; a job is dropped by whoever claims its state.

#![expect(unsafe_code, reason = "waiters live on stacks, jobs in their blocks")]

use super::queue::{Entry, List, Woken};
use super::wait;
use crate::error::{Cancelled, fiber_limit};
use crate::fiber::WaitKind;
use crate::fiber::claim::Reason;
use crate::job::JobPtr;
use crate::primitives::{AtomicU32, Mutex, MutexGuard, Ordering, lock};
use crate::sched::wait::{Bounds, WaitFor, wait_bounded};
use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::ptr;
use std::sync::{Arc, Weak};

/// Tells jobs, and those who wait, that what they do is no longer wanted.
///
/// - A wait that got the token ([`Counter::wait_cancellable`](crate::Counter::wait_cancellable) and its like) ends with
///   [`Cancelled`].
/// - A job that got it ([`JobBuilder::cancel_token`](crate::JobBuilder::cancel_token)), or was spawned in a [scope](Self::scope) of it, and has not been
///   started is dropped; its handle says [`JobError::Cancelled`](crate::JobError::Cancelled), its counters are signalled.
/// - A job that runs is asked: it looks at [`is_cancelled`](Self::is_cancelled), or [`check`](Self::check), when it can stop. Nothing is unwound
///   behind its back.
/// - [Children](Self::child) are cancelled with it.
///
/// Clones are the same token. It is cancelled once and for good, and only by [`cancel`](Self::cancel): dropping it cancels nothing. A child keeps its parent alive.
///
/// # Examples
///
/// ```
/// use ramie::sync::CancelToken;
///
/// let (level, never) = (CancelToken::new(), ramie::Counter::new(1));
/// let waiter = ramie::spawn({
///     let (level, never) = (level.clone(), never.clone());
///     move || never.wait_cancellable(&level).is_err()
/// });
/// level.cancel();
/// assert!(waiter.join()?, "the wait was cancelled");
/// # Ok::<(), ramie::JobError>(())
/// ```
#[derive(Clone)]
pub struct CancelToken {
    cell: Arc<TokenCell>,
}

/// The token is cancelled.
const CANCELLED: u32 = 1;
/// So are all its children and theirs.
const WITH_CHILDREN: u32 = 2;

struct TokenCell {
    /// 0, [`CANCELLED`], which is set under the lock, or [`WITH_CHILDREN`].
    cancelled: AtomicU32,
    known: Mutex<Known>,
    /// The token that this one is a child of, and its place there.
    parent: Option<(CancelToken, usize)>,
}

/// What a token knows of.
struct Known {
    waiters: List,
    /// The job that was registered last.
    jobs: *const JobLink,
    children: Vec<Option<Weak<TokenCell>>>,
    /// Places of `children` that are free.
    free: Vec<usize>,
}

// SAFETY: links are reached under the lock only, or by whoever has claimed their jobs.
unsafe impl Send for Known {}

impl CancelToken {
    /// A token that is not cancelled.
    pub fn new() -> Self {
        Self::with_parent(None)
    }

    fn with_parent(parent: Option<(CancelToken, usize)>) -> Self {
        let known = Known { waiters: List::EMPTY, jobs: ptr::null(), children: Vec::new(), free: Vec::new() };
        Self { cell: Arc::new(TokenCell { cancelled: AtomicU32::new(0), known: Mutex::new(known), parent }) }
    }

    /// A token that is cancelled with this one, or by itself. If this one is cancelled already, so is the child.
    pub fn child(&self) -> Self {
        let mut known = self.cell.lock();
        let place = known.free.pop().unwrap_or_else(|| {
            known.children.push(None);
            known.children.len() - 1
        });
        let child = Self::with_parent(Some((self.clone(), place)));
        if self.is_cancelled() {
            child.cell.cancelled.store(CANCELLED, Ordering::Release);
        }
        known.children[place] = Some(Arc::downgrade(&child.cell));
        child
    }

    /// Whether it was cancelled. What happened before that is visible then.
    #[inline]
    pub fn is_cancelled(&self) -> bool {
        // ORDERING: Acquire pairs with the Release in `cancel`.
        self.cell.cancelled.load(Ordering::Acquire) != 0
    }

    /// As [`is_cancelled`](Self::is_cancelled), for the `?` operator.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if it was cancelled.
    #[inline]
    pub fn check(&self) -> Result<(), Cancelled> {
        if self.is_cancelled() { Err(Cancelled::new()) } else { Ok(()) }
    }

    /// Cancels it and its children: wakes all waits that have one of them, and drops all jobs that have one and were not started.
    ///
    /// The captures of those jobs are dropped on the calling thread, when everybody was woken; that runs their destructors, which may wait. If somebody else
    /// cancels it at the same time, one of the two may return while the other still wakes and drops; all waits and unstarted jobs are decided then.
    pub fn cancel(&self) {
        // ORDERING: Acquire, as in `is_cancelled`.
        if self.cell.cancelled.load(Ordering::Acquire) == WITH_CHILDREN {
            return;
        }
        let (mut tokens, mut next) = (vec![self.clone()], 0);
        let (mut woken, mut dropped) = (Woken::none(), ptr::null());
        while let Some(token) = tokens.get(next).cloned() {
            token.claim_all(&mut tokens, &mut woken, &mut dropped);
            next += 1;
        }
        // Children first: their own are cancelled, and those that come are born so.
        for token in tokens.iter().rev() {
            token.cell.cancelled.store(WITH_CHILDREN, Ordering::Release);
        }
        // Before the captures are dropped, which runs code of users: it may wait for those.
        wait::wake_all(woken);
        // SAFETY: a claimed job's block is the claimer's until it is discarded.
        while let Some(link) = unsafe { dropped.as_ref() } {
            dropped = link.next.get();
            let job = link.job.get().expect("set when it was registered");
            // SAFETY: claimed by this call.
            unsafe { crate::job::cancel_claimed(job, link.was_held.get()) };
        }
    }

    /// Lets everybody see that this one is cancelled, claims who waits with it and its jobs, and adds its children to `tokens`.
    fn claim_all(&self, tokens: &mut Vec<CancelToken>, woken: &mut Woken, dropped: &mut *const JobLink) {
        let mut known = self.cell.lock();
        // ORDERING: Release for those who see it. Under the lock, so that nobody registers after it.
        self.cell.cancelled.fetch_max(CANCELLED, Ordering::Release);
        known.waiters.claim_all_as(Reason::Cancelled, woken);
        // SAFETY: links in the list are in place while the lock is held.
        while let Some(link) = unsafe { known.jobs.as_ref() } {
            known.unlink(link);
            let job = link.job.get().expect("set when it was registered");
            // Otherwise somebody is about to start it, and sees the flag then.
            if let Some(claimed) = job.header().state.claim() {
                link.was_held.set(claimed.held);
                link.next.set(*dropped);
                *dropped = link;
            }
        }
        let children = known.children.iter().flatten().filter_map(Weak::upgrade);
        tokens.extend(children.map(|cell| CancelToken { cell }));
    }

    /// Calls `f` with a scope, as [`ramie::scope`](crate::scope()), whose members have this token: those that have not been started when it is cancelled
    /// are dropped.
    ///
    /// The scope still returns only after all its members have ended, so members that run should look at the token. Then it gives
    /// what `f` has returned; whether it was cut short says [`check`](Self::check).
    ///
    /// # Panics
    ///
    /// As [`ramie::scope`](crate::scope()).
    ///
    /// # Suspends
    ///
    /// As [`ramie::scope`](crate::scope()).
    ///
    /// # Examples
    ///
    /// ```
    /// use ramie::sync::CancelToken;
    /// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    ///
    /// let (token, done) = (CancelToken::new(), AtomicU32::new(0));
    /// token.scope(|s| {
    ///     for n in 0..1000 {
    ///         s.spawn(|| token.is_cancelled() || done.fetch_add(1, Relaxed) < 1000);
    ///         if n == 10 {
    ///             token.cancel();
    ///         }
    ///     }
    /// });
    /// assert!(done.into_inner() <= 11);
    /// ```
    #[track_caller]
    pub fn scope<'env, F, R>(&self, f: F) -> R
    where
        F: for<'scope> FnOnce(&'scope crate::Scope<'scope, 'env>) -> R,
    {
        crate::scope::scope_with_token(self.clone(), Location::caller(), f)
    }

    /// Waits until it is cancelled.
    ///
    /// # Panics
    ///
    /// With `FiberLimit` if it had to suspend the last fiber of this worker and no other can be made.
    ///
    /// # Suspends
    ///
    /// Inside a job, unless it is cancelled. Elsewhere the thread blocks.
    #[track_caller]
    pub fn wait(&self) {
        if self.is_cancelled() {
            return;
        }
        let what = WaitFor { kind: WaitKind::Cancellation, object: 0, site: Location::caller() };
        let bounds = Bounds { limit: None, token: Some(self) };
        if wait_bounded(what, bounds, |_, _| true, |_| {}).is_err() {
            fiber_limit("waiting for a cancellation");
        }
    }

    /// Registers somebody who is about to wait; false if the token is cancelled.
    ///
    /// # Safety
    ///
    /// `entry` stays in place until [`unwatch`](Self::unwatch) was called with it.
    #[must_use]
    pub(crate) unsafe fn watch(&self, entry: &Entry) -> bool {
        let mut known = self.cell.lock();
        if self.is_cancelled() {
            return false;
        }
        // SAFETY: promised by the caller.
        unsafe { known.waiters.push_back(entry) };
        true
    }

    /// Takes it out, if it is still in.
    pub(crate) fn unwatch(&self, entry: &Entry) {
        self.cell.lock().waiters.remove(entry);
    }

    /// Registers a job and has it submitted, in one step for whoever cancels; whether the token is cancelled, and the job not registered.
    pub(crate) fn register_job(&self, job: JobPtr, link: &'static JobLink, submit: impl FnOnce()) -> bool {
        link.job.set(Some(job));
        link.token.set(Some(self.clone()));
        let mut known = self.cell.lock();
        let is_cancelled = self.is_cancelled();
        if !is_cancelled {
            link.previous.set(ptr::null());
            link.next.set(known.jobs);
            link.linked.set(true);
            // SAFETY: links in the list are in place.
            if let Some(first) = unsafe { known.jobs.as_ref() } {
                first.previous.set(link);
            }
            known.jobs = link;
        }
        submit();
        is_cancelled
    }
}

impl TokenCell {
    fn lock(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }
}

impl Drop for TokenCell {
    fn drop(&mut self) {
        // Not by recursion: a chain of tokens may be of any length.
        let mut parent = self.parent.take();
        while let Some((token, place)) = parent.take() {
            let mut known = token.cell.lock();
            known.children[place] = None;
            known.free.push(place);
            drop(known);
            parent = Arc::into_inner(token.cell).and_then(|mut cell| cell.parent.take());
        }
    }
}

impl Known {
    fn unlink(&mut self, link: &JobLink) {
        if !link.linked.replace(false) {
            return;
        }
        let (previous, next) = (link.previous.get(), link.next.get());
        // SAFETY: neighbours are in the list, and links in the list are in place.
        unsafe {
            match previous.as_ref() {
                Some(previous) => previous.next.set(next),
                None => self.jobs = next,
            }
            if let Some(next) = next.as_ref() {
                next.previous.set(previous);
            }
        }
    }
}

/// A job's place in the list of its token; in the job's block. Until it was registered it is the submitter's, and when the job was claimed the
/// claimer's; the neighbours are changed under the token's lock.
pub(crate) struct JobLink {
    token: Cell<Option<CancelToken>>,
    job: Cell<Option<JobPtr>>,
    next: Cell<*const JobLink>,
    previous: Cell<*const JobLink>,
    linked: Cell<bool>,
    /// Whether the job was held back by counters when it was claimed.
    was_held: Cell<bool>,
}

impl JobLink {
    pub(crate) fn new() -> Self {
        Self {
            token: Cell::new(None),
            job: Cell::new(None),
            next: Cell::new(ptr::null()),
            previous: Cell::new(ptr::null()),
            linked: Cell::new(false),
            was_held: Cell::new(false),
        }
    }

    /// The job was claimed: it leaves its token, if it has one. Whether that is cancelled.
    pub(crate) fn leave(&self) -> bool {
        let Some(token) = self.token.take() else { return false };
        let mut known = token.cell.lock();
        known.unlink(self);
        token.is_cancelled()
    }
}

impl Default for CancelToken {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken").field("cancelled", &self.is_cancelled()).finish()
    }
}

impl std::panic::UnwindSafe for CancelToken {}
impl std::panic::RefUnwindSafe for CancelToken {}

//! Channels: messages from any number of senders to any number of receivers, in the order in which they were sent.
//!
//! ```text
//!   senders that wait, each with its message  ──>  messages, at most `capacity`  ──>  receivers that wait
//! ```
//!
//! Everything is under one lock that is held for a few steps. INVARIANT: under it, receivers wait only while there is no message, and senders only
//! while there is no room; or behind a future that was told of it, and then tries by itself, or passes it on when it is dropped. A message goes from a sender straight to a receiver that waits, into
//! its stack frame; a sender that waits has its message taken out of its own.
//!
//! A library's channel, `async-channel`, was measured behind `block_on` first; see ARCHITECTURE.md.

#![expect(unsafe_code, reason = "messages are handed over in the stack frames of waiters")]

mod errors;
mod future;
mod oneshot;

pub use errors::{ReceiveError, SendError, TryReceiveError, TrySendError};
pub use future::{ReceiveFuture, SendFuture};
pub use oneshot::{OneshotReceiver, OneshotSender, oneshot};

use super::CancelToken;
use super::queue::{Contest, Entry, List, Woken};
use super::wait;
use crate::error::fiber_limit;
use crate::fiber::WaitKind;
use crate::fiber::claim::{Reason, Ticket};
use crate::memory::node::Node;
use crate::primitives::{AtomicUsize, Ordering, ShortGuard, ShortMutex, fence};
use crate::sched::wait::{Bounds, WaitFor, claim_of, wait as sched_wait, wait_bounded};
use std::cell::{Cell, OnceCell, UnsafeCell};
use std::collections::VecDeque;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

/// A channel that holds up to `capacity` messages; a sender that finds it full waits.
///
/// # Panics
///
/// If the capacity is 0: a channel holds at least one message.
///
/// # Examples
///
/// ```
/// use ramie::sync::channel;
///
/// let (sender, receiver) = channel::bounded(4);
/// let squares = ramie::spawn(move || receiver.iter().map(|n: u64| n * n).sum::<u64>());
/// for n in 0..100 {
///     sender.send(n).unwrap();
/// }
/// drop(sender);
/// assert_eq!(squares.join().unwrap(), 328_350);
/// ```
#[track_caller]
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "channel::bounded(0): a channel holds at least one message");
    make(capacity)
}

/// A channel that holds any number of messages; sending never waits. Whoever sends faster than is received needs ever more memory.
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    make(usize::MAX)
}

fn make<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        inner: ShortMutex::new(Inner {
            messages: VecDeque::new(),
            capacity,
            receivers: List::EMPTY,
            senders: List::EMPTY,
            senders_gone: false,
            receivers_gone: false,
        }),
        count_hint: AtomicUsize::new(0),
        capacity,
        sender_count: AtomicUsize::new(1),
        receiver_count: AtomicUsize::new(1),
    });
    (Sender { shared: Arc::clone(&shared) }, Receiver { shared })
}

/// Sends messages. Clones send into the same channel; when the last is dropped, receivers get what is left and then [`ReceiveError`].
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

/// Receives messages, each of which one receiver gets. Clones receive from the same channel; when the last is dropped, the messages that are left
/// are dropped, and sending is an error.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    inner: ShortMutex<Inner<T>>,
    /// How many messages there were when somebody let go of the lock: a hint that saves those a step who are going to wait.
    count_hint: AtomicUsize,
    capacity: usize,
    sender_count: AtomicUsize,
    receiver_count: AtomicUsize,
}

/// What is under the lock.
struct Inner<T> {
    messages: VecDeque<T>,
    capacity: usize,
    receivers: List,
    senders: List,
    senders_gone: bool,
    receivers_gone: bool,
}

/// A waiter's entry, and the place of its message.
#[repr(C)]
struct Place<T> {
    entry: Entry,
    /// Used by whoever has claimed the entry, until the waiter is woken; otherwise by the waiter.
    message: UnsafeCell<Option<T>>,
}

/// What a waiter wants: its message handed over, ...
const WANTS_HANDOVER: u32 = 0;
/// ... or to be told, because it has no place for one: a future.
const WANTS_NOTICE: u32 = 1;

/// What a waiter was given: its message was handed over, ...
const HANDED_OVER: u32 = 0;
/// ... or the other side is gone.
const CLOSED: u32 = 1;

/// What became of a message that was offered.
enum Offer<T> {
    Sent,
    Full(T),
    Closed(T),
}

/// What became of an attempt to receive.
enum Take<T> {
    Received(T),
    Empty,
    Closed,
}

impl<T> Inner<T> {
    fn offer(&mut self, message: T, woken: &mut Woken) -> Offer<T> {
        if self.receivers_gone {
            return Offer::Closed(message);
        }
        if self.messages.len() >= self.capacity {
            return Offer::Full(message);
        }
        if self.receivers.is_empty() {
            self.messages.push_back(message);
        } else if let Some(message) = self.hand_over_first(message, woken) {
            self.messages.push_back(message);
        }
        Offer::Sent
    }

    /// Gives the oldest message to the receiver that has waited longest, or tells it; gives a message back that nobody took.
    fn hand_over_first(&mut self, newest: T, woken: &mut Woken) -> Option<T> {
        while let Some((wants, entry)) = self.receivers.first() {
            if !self.receivers.claim_first(HANDED_OVER, woken) {
                continue;
            }
            if wants == WANTS_NOTICE {
                return Some(newest);
            }
            // There are some if a future was told of them and was not polled yet.
            let (message, left) = match self.messages.pop_front() {
                Some(oldest) => (oldest, Some(newest)),
                None => (newest, None),
            };
            // SAFETY: entries that want a message are those of places, which waiters keep until they are woken; this one was claimed.
            unsafe { *(*entry.cast::<Place<T>>()).message.get() = Some(message) };
            return left;
        }
        Some(newest)
    }

    fn take(&mut self, woken: &mut Woken) -> Take<T> {
        let Some(message) = self.messages.pop_front() else {
            return if self.senders_gone { Take::Closed } else { Take::Empty };
        };
        self.settle(woken);
        Take::Received(message)
    }

    /// There is room that was not there before, or a future that was told of room or a message is gone: senders get the room, and receivers the
    /// messages, until nobody waits for what is there, but behind a future that was just told.
    fn settle(&mut self, woken: &mut Woken) {
        while self.fill_room(woken) | self.serve(woken) {}
    }

    /// If there is room, the sender that has waited longest gets it; whether its message was taken.
    fn fill_room(&mut self, woken: &mut Woken) -> bool {
        while self.messages.len() < self.capacity {
            let Some((wants, entry)) = self.senders.first() else { return false };
            if !self.senders.claim_first(HANDED_OVER, woken) {
                continue;
            }
            if wants == WANTS_NOTICE {
                return false;
            }
            // SAFETY: as in `hand_over_first`.
            let message = unsafe { (*(*entry.cast::<Place<T>>()).message.get()).take() };
            self.messages.extend(message);
            return true;
        }
        false
    }

    /// If there is a message, the receiver that has waited longest gets it; whether one was handed over.
    fn serve(&mut self, woken: &mut Woken) -> bool {
        while !self.messages.is_empty() {
            let Some((wants, entry)) = self.receivers.first() else { return false };
            if !self.receivers.claim_first(HANDED_OVER, woken) {
                continue;
            }
            if wants == WANTS_NOTICE {
                return false;
            }
            // SAFETY: as in `hand_over_first`.
            unsafe { *(*entry.cast::<Place<T>>()).message.get() = self.messages.pop_front() };
            return true;
        }
        false
    }
}

impl<T> Shared<T> {
    #[inline(always)]
    fn lock(&self) -> ShortGuard<'_, Inner<T>> {
        self.inner.lock()
    }

    /// Lets go of the lock, and wakes those who were claimed.
    #[inline]
    fn unlock(&self, inner: ShortGuard<'_, Inner<T>>, woken: Woken) {
        self.count_hint.store(inner.messages.len(), Ordering::Relaxed);
        drop(inner);
        wait::wake_all(woken);
    }

    #[inline]
    fn offer(&self, message: T) -> Offer<T> {
        let mut woken = Woken::none();
        let mut inner = self.lock();
        let offer = inner.offer(message, &mut woken);
        self.unlock(inner, woken);
        offer
    }

    #[inline]
    fn take(&self) -> Take<T> {
        let mut woken = Woken::none();
        let mut inner = self.lock();
        let take = inner.take(&mut woken);
        self.unlock(inner, woken);
        take
    }

    /// Sends without bounds.
    ///
    /// PERF: as for `wait_in`: inlined down to the switch, and no claim word; bench `channel_ping_pong`.
    #[inline(always)]
    fn send(&self, message: T, site: &'static Location<'static>) -> Result<(), SendError<T>> {
        let mut message = message;
        if self.count_hint.load(Ordering::Relaxed) < self.capacity {
            match self.offer(message) {
                Offer::Sent => return Ok(()),
                Offer::Closed(message) => return Err(SendError(message)),
                Offer::Full(back) => message = back,
            }
        }
        let place = Place::new(Some(message));
        let (mut waits, mut is_closed) = (false, false);
        let what = WaitFor { kind: WaitKind::Send, object: 0, site };
        let waited = sched_wait(what, |node| {
            let mut woken = Woken::none();
            let mut inner = self.lock();
            // SAFETY: the place is nobody else's before it is in the list.
            let message = unsafe { (*place.message.get()).take() }.expect("put there above");
            match inner.offer(message, &mut woken) {
                Offer::Sent => {}
                Offer::Closed(message) => {
                    // SAFETY: as above.
                    unsafe { *place.message.get() = Some(message) };
                    is_closed = true;
                }
                // SAFETY: as above. 1. The waiter's own node. 2. Nobody else knows of this wait. The place is in this stack frame, which is left after
                // the wait: then somebody has taken it out.
                Offer::Full(message) => unsafe {
                    *place.message.get() = Some(message);
                    place.entry.enrol(node, None);
                    inner.senders.push_back(place.as_entry());
                    waits = true;
                },
            }
            self.unlock(inner, woken);
            waits
        });
        if waited.is_err() {
            fiber_limit("sending into a channel");
        }
        if is_closed || waits && place.entry.given.get() == CLOSED {
            return Err(SendError(place.message.into_inner().expect("nobody has taken it")));
        }
        Ok(())
    }

    /// Receives without bounds; as [`send`](Self::send).
    #[inline(always)]
    fn receive(&self, site: &'static Location<'static>) -> Result<T, ReceiveError> {
        if self.count_hint.load(Ordering::Relaxed) > 0 {
            match self.take() {
                Take::Received(message) => return Ok(message),
                Take::Closed => return Err(ReceiveError),
                Take::Empty => {}
            }
        }
        let place = Place::new(None);
        let what = WaitFor { kind: WaitKind::Receive, object: 0, site };
        let waited = sched_wait(what, |node| {
            let mut woken = Woken::none();
            let mut inner = self.lock();
            let taken = inner.take(&mut woken);
            let waits = matches!(taken, Take::Empty);
            // SAFETY: as in `send`.
            unsafe {
                match taken {
                    Take::Received(message) => *place.message.get() = Some(message),
                    Take::Closed => {}
                    Take::Empty => {
                        place.entry.enrol(node, None);
                        inner.receivers.push_back(place.as_entry());
                    }
                }
            }
            self.unlock(inner, woken);
            waits
        });
        if waited.is_err() {
            fiber_limit("receiving from a channel");
        }
        // Without one the channel is closed.
        place.message.into_inner().ok_or(ReceiveError)
    }

    fn send_within(
        &self,
        message: T,
        bounds: Bounds<'_>,
        site: &'static Location<'static>,
    ) -> Result<(), TrySendError<T>> {
        let message = match self.offer(message) {
            Offer::Sent => return Ok(()),
            Offer::Closed(message) => return Err(TrySendError::Closed(message)),
            Offer::Full(message) => message,
        };
        if bounds.limit == Some(Duration::ZERO) {
            return Err(TrySendError::TimedOut(message));
        }
        if bounds.token.is_some_and(CancelToken::is_cancelled) {
            return Err(TrySendError::Cancelled(message));
        }
        let (place, message) = (OnceCell::<Place<T>>::new(), Cell::new(Some(message)));
        let outcome = Cell::new(Ok(()));
        let register = |node: &'static Node, ticket| {
            let mut woken = Woken::none();
            let mut inner = self.lock();
            let offered = message.take().expect("registered once");
            let waits = match inner.offer(offered, &mut woken) {
                Offer::Sent => false,
                Offer::Closed(message) => {
                    outcome.set(Err(TrySendError::Closed(message)));
                    false
                }
                Offer::Full(message) => {
                    let place = place.get_or_init(|| Place::contested(node, ticket, Some(message)));
                    // SAFETY: the place is in this function's frame, which is left after the wait; then somebody has claimed the entry and so
                    // taken it out, or it is removed below.
                    unsafe { inner.senders.push_back(place.as_entry()) };
                    true
                }
            };
            self.unlock(inner, woken);
            waits
        };
        let settle = |reason| {
            let place = place.get().expect("made when it was registered");
            let error = match reason {
                Reason::Signalled if place.entry.given.get() == HANDED_OVER => return,
                Reason::Signalled => TrySendError::Closed,
                reason => {
                    self.lock().senders.remove(&place.entry);
                    if reason == Reason::Cancelled { TrySendError::Cancelled } else { TrySendError::TimedOut }
                }
            };
            // SAFETY: the wait is over, and nobody has claimed the entry to take the message.
            let message = unsafe { (*place.message.get()).take() };
            outcome.set(Err(error(message.expect("nobody has taken it"))));
        };
        let what = WaitFor { kind: WaitKind::Send, object: 0, site };
        if wait_bounded(what, bounds, register, settle).is_err() {
            fiber_limit("sending into a channel");
        }
        outcome.into_inner()
    }

    fn receive_within(
        &self,
        bounds: Bounds<'_>,
        site: &'static Location<'static>,
    ) -> Result<T, TryReceiveError> {
        match self.take() {
            Take::Received(message) => return Ok(message),
            Take::Closed => return Err(TryReceiveError::Closed),
            Take::Empty => {}
        }
        if bounds.limit == Some(Duration::ZERO) {
            return Err(TryReceiveError::TimedOut);
        }
        if bounds.token.is_some_and(CancelToken::is_cancelled) {
            return Err(TryReceiveError::Cancelled);
        }
        let place = OnceCell::<Place<T>>::new();
        let outcome = Cell::new(Err(TryReceiveError::Closed));
        let register = |node: &'static Node, ticket| {
            let mut woken = Woken::none();
            let mut inner = self.lock();
            let waits = match inner.take(&mut woken) {
                Take::Received(message) => {
                    outcome.set(Ok(message));
                    false
                }
                Take::Closed => false,
                Take::Empty => {
                    let place = place.get_or_init(|| Place::contested(node, ticket, None));
                    // SAFETY: as in `send_within`.
                    unsafe { inner.receivers.push_back(place.as_entry()) };
                    true
                }
            };
            self.unlock(inner, woken);
            waits
        };
        let settle = |reason| {
            let place = place.get().expect("made when it was registered");
            outcome.set(match reason {
                Reason::Signalled if place.entry.given.get() == HANDED_OVER => {
                    // SAFETY: the wait is over, and whoever has claimed the entry has put the message there before.
                    let message = unsafe { (*place.message.get()).take() };
                    Ok(message.expect("handed over"))
                }
                Reason::Signalled => Err(TryReceiveError::Closed),
                reason => {
                    self.lock().receivers.remove(&place.entry);
                    Err(if reason == Reason::Cancelled {
                        TryReceiveError::Cancelled
                    } else {
                        TryReceiveError::TimedOut
                    })
                }
            });
        };
        let what = WaitFor { kind: WaitKind::Receive, object: 0, site };
        if wait_bounded(what, bounds, register, settle).is_err() {
            fiber_limit("receiving from a channel");
        }
        outcome.into_inner()
    }

    #[cold]
    fn close_for_receivers(&self) {
        let mut woken = Woken::none();
        let mut inner = self.lock();
        inner.senders_gone = true;
        // What is left goes to those who wait behind a future that was told of it; futures look by themselves.
        while let Some((wants, entry)) = inner.receivers.first() {
            let gets_one = wants == WANTS_HANDOVER && !inner.messages.is_empty();
            if inner.receivers.claim_first(if gets_one { HANDED_OVER } else { CLOSED }, &mut woken)
                && gets_one
            {
                let message = inner.messages.pop_front();
                // SAFETY: as in `hand_over_first`.
                unsafe { *(*entry.cast::<Place<T>>()).message.get() = message };
            }
        }
        self.unlock(inner, woken);
    }

    #[cold]
    fn close_for_senders(&self) {
        let mut woken = Woken::none();
        let mut inner = self.lock();
        inner.receivers_gone = true;
        inner.senders.claim_all_giving(CLOSED, &mut woken);
        let left = std::mem::take(&mut inner.messages);
        self.unlock(inner, woken);
        drop(left);
    }
}

impl<T> Place<T> {
    #[inline]
    fn new(message: Option<T>) -> Self {
        Self { entry: Entry::new(WANTS_HANDOVER), message: UnsafeCell::new(message) }
    }

    /// That of a waiter for which others may come than those who send or receive.
    fn contested(node: &'static Node, ticket: Ticket, message: Option<T>) -> Self {
        let place = Self::new(message);
        // SAFETY: the node of a fiber or a thread waiter that is about to wait, and its claim word, for which everybody else has the ticket, too.
        unsafe {
            let claim = claim_of(node.as_ptr());
            place.entry.enrol(node, Some(Contest { claim, ticket }));
        }
        place
    }

    /// The entry, by a pointer that reaches over the whole place.
    fn as_entry(&self) -> *const Entry {
        std::ptr::from_ref(self).cast()
    }
}

impl<T> Sender<T> {
    /// Sends a message; waits while the channel is full.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the message, if all receivers are gone.
    ///
    /// # Panics
    ///
    /// With `FiberLimit` if it had to suspend the last fiber of this worker and no other can be made.
    ///
    /// # Suspends
    ///
    /// Inside a job, if the channel is full. Elsewhere the thread blocks.
    #[inline]
    #[track_caller]
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        self.shared.send(message, Location::caller())
    }

    /// Sends a message if there is room.
    ///
    /// # Errors
    ///
    /// [`TrySendError::Full`] or [`TrySendError::Closed`], with the message.
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        match self.shared.offer(message) {
            Offer::Sent => Ok(()),
            Offer::Full(message) => Err(TrySendError::Full(message)),
            Offer::Closed(message) => Err(TrySendError::Closed(message)),
        }
    }

    /// As [`send`](Self::send), for at most `limit`.
    ///
    /// # Errors
    ///
    /// [`TrySendError::TimedOut`] or [`TrySendError::Closed`], with the message.
    ///
    /// # Panics
    ///
    /// As [`send`](Self::send).
    #[track_caller]
    pub fn send_timeout(&self, message: T, limit: Duration) -> Result<(), TrySendError<T>> {
        self.shared.send_within(message, Bounds::time(Some(limit)), Location::caller())
    }

    /// As [`send`](Self::send), until a token is cancelled.
    ///
    /// # Errors
    ///
    /// [`TrySendError::Cancelled`] or [`TrySendError::Closed`], with the message.
    ///
    /// # Panics
    ///
    /// As [`send`](Self::send).
    #[track_caller]
    pub fn send_cancellable(&self, message: T, token: &CancelToken) -> Result<(), TrySendError<T>> {
        let bounds = Bounds { limit: None, token: Some(token) };
        self.shared.send_within(message, bounds, Location::caller())
    }

    /// As [`send`](Self::send), for async code. A future that waits may be overtaken by jobs and threads that send.
    pub fn send_async(&self, message: T) -> SendFuture<'_, T> {
        SendFuture::new(&self.shared, message)
    }

    /// How many messages nobody has received yet.
    pub fn len(&self) -> usize {
        self.shared.lock().messages.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many messages it holds; `None` if any number.
    pub fn capacity(&self) -> Option<usize> {
        self.shared.capacity()
    }

    /// Whether all receivers are gone.
    pub fn is_closed(&self) -> bool {
        self.shared.lock().receivers_gone
    }
}

impl<T> Shared<T> {
    fn capacity(&self) -> Option<usize> {
        Some(self.capacity).filter(|capacity| *capacity != usize::MAX)
    }
}

impl<T> Receiver<T> {
    /// Receives a message; waits while there is none.
    ///
    /// # Errors
    ///
    /// [`ReceiveError`] if there is none and all senders are gone.
    ///
    /// # Panics
    ///
    /// With `FiberLimit` if it had to suspend the last fiber of this worker and no other can be made.
    ///
    /// # Suspends
    ///
    /// Inside a job, if there is no message. Elsewhere the thread blocks.
    #[inline]
    #[track_caller]
    pub fn recv(&self) -> Result<T, ReceiveError> {
        self.shared.receive(Location::caller())
    }

    /// Receives a message if there is one.
    ///
    /// # Errors
    ///
    /// [`TryReceiveError::Empty`] or [`TryReceiveError::Closed`].
    pub fn try_recv(&self) -> Result<T, TryReceiveError> {
        match self.shared.take() {
            Take::Received(message) => Ok(message),
            Take::Empty => Err(TryReceiveError::Empty),
            Take::Closed => Err(TryReceiveError::Closed),
        }
    }

    /// As [`recv`](Self::recv), for at most `limit`.
    ///
    /// # Errors
    ///
    /// [`TryReceiveError::TimedOut`] or [`TryReceiveError::Closed`].
    ///
    /// # Panics
    ///
    /// As [`recv`](Self::recv).
    #[track_caller]
    pub fn recv_timeout(&self, limit: Duration) -> Result<T, TryReceiveError> {
        self.shared.receive_within(Bounds::time(Some(limit)), Location::caller())
    }

    /// As [`recv`](Self::recv), until a token is cancelled.
    ///
    /// # Errors
    ///
    /// [`TryReceiveError::Cancelled`] or [`TryReceiveError::Closed`].
    ///
    /// # Panics
    ///
    /// As [`recv`](Self::recv).
    #[track_caller]
    pub fn recv_cancellable(&self, token: &CancelToken) -> Result<T, TryReceiveError> {
        self.shared.receive_within(Bounds { limit: None, token: Some(token) }, Location::caller())
    }

    /// As [`recv`](Self::recv), for async code. A future that waits may be overtaken by jobs and threads that receive. One that was woken, and is kept without
    /// being polled or dropped, keeps those waiting who came after it.
    pub fn recv_async(&self) -> ReceiveFuture<'_, T> {
        ReceiveFuture::new(&self.shared)
    }

    /// Receives until all senders are gone and nothing is left.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { receiver: self }
    }

    /// How many messages nobody has received yet.
    pub fn len(&self) -> usize {
        self.shared.lock().messages.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many messages it holds; `None` if any number.
    pub fn capacity(&self) -> Option<usize> {
        self.shared.capacity()
    }

    /// Whether all senders are gone; there may be messages left.
    pub fn is_closed(&self) -> bool {
        self.shared.lock().senders_gone
    }
}

/// What a [`Receiver`] gets, one after the other; made by [`Receiver::iter`].
#[derive(Debug)]
pub struct Iter<'a, T> {
    receiver: &'a Receiver<T>,
}

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    #[track_caller]
    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

/// What a [`Receiver`] gets, one after the other, until it is dropped.
#[derive(Debug)]
pub struct IntoIter<T> {
    receiver: Receiver<T>,
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    #[track_caller]
    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

impl<T> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter { receiver: self }
    }
}

/// Adds one to those who use a side.
fn add_user(count: &AtomicUsize) {
    // ORDERING: Relaxed: a clone is made of one that is there.
    let before = count.fetch_add(1, Ordering::Relaxed);
    assert!(before < usize::MAX / 2, "more senders or receivers than fit into memory");
}

/// Takes one off; whether it was the last.
fn remove_user(count: &AtomicUsize) -> bool {
    // ORDERING: as in `Arc`: what the others did happens before the last one closes.
    let last = count.fetch_sub(1, Ordering::Release) == 1;
    if last {
        fence(Ordering::Acquire);
    }
    last
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        add_user(&self.shared.sender_count);
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if remove_user(&self.shared.sender_count) {
            self.shared.close_for_receivers();
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        add_user(&self.shared.receiver_count);
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        if remove_user(&self.shared.receiver_count) {
            self.shared.close_for_senders();
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("len", &self.len()).field("closed", &self.is_closed()).finish()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("len", &self.len()).field("closed", &self.is_closed()).finish()
    }
}

// No code of users runs under the lock.
impl<T> std::panic::UnwindSafe for Sender<T> {}
impl<T> std::panic::RefUnwindSafe for Sender<T> {}
impl<T> std::panic::UnwindSafe for Receiver<T> {}
impl<T> std::panic::RefUnwindSafe for Receiver<T> {}

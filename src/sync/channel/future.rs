//! Sending and receiving in async code.
//!
//! A future has no place of its own for a message, so it is only told that there is one, or room, and tries again when it is polled. If it is dropped in between,
//! it passes on what it was told.

use super::{Offer, ReceiveError, SendError, Shared, Take, WANTS_NOTICE};
use crate::interop::poll_waiter::Registered;
use crate::sync::queue::Woken;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// A future's place among those who wait for a message.
#[derive(Default)]
pub(super) struct Receiving(Option<Registered>);

impl Receiving {
    pub(super) fn poll<T>(&mut self, shared: &Shared<T>, waker: &Waker) -> Poll<Result<T, ReceiveError>> {
        if self.0.as_ref().is_some_and(|registered| !registered.is_woken(waker)) {
            return Poll::Pending;
        }
        self.0.take().into_iter().for_each(Registered::finish);
        match shared.take() {
            Take::Received(message) => return Poll::Ready(Ok(message)),
            Take::Closed => return Poll::Ready(Err(ReceiveError)),
            Take::Empty => {}
        }
        let registered = Registered::begin(waker);
        let entry = registered.queue_entry(WANTS_NOTICE);
        let mut woken = Woken::none();
        let mut inner = shared.lock();
        let taken = inner.take(&mut woken);
        if matches!(taken, Take::Empty) {
            inner.receivers.push_back_slot(entry);
        }
        shared.unlock(inner, woken);
        let result = match taken {
            Take::Empty => {
                self.0 = Some(registered);
                return Poll::Pending;
            }
            Take::Received(message) => Ok(message),
            Take::Closed => Err(ReceiveError),
        };
        registered.unused();
        Poll::Ready(result)
    }

    /// The future is dropped.
    pub(super) fn leave<T>(&mut self, shared: &Shared<T>) {
        let Some(registered) = self.0.take() else { return };
        if registered.withdraw() {
            shared.lock().receivers.remove(registered.as_queue_entry());
            return registered.free();
        }
        registered.finish();
        let mut woken = Woken::none();
        let mut inner = shared.lock();
        inner.settle(&mut woken);
        shared.unlock(inner, woken);
    }
}

/// A message that is being received; made by [`Receiver::recv_async`](super::Receiver::recv_async).
#[must_use = "futures do nothing unless they are polled"]
pub struct ReceiveFuture<'a, T> {
    shared: &'a Shared<T>,
    receiving: Receiving,
}

impl<'a, T> ReceiveFuture<'a, T> {
    pub(super) fn new(shared: &'a Shared<T>) -> Self {
        Self { shared, receiving: Receiving::default() }
    }
}

impl<T> Future for ReceiveFuture<'_, T> {
    type Output = Result<T, ReceiveError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let shared = self.shared;
        self.receiving.poll(shared, context.waker())
    }
}

impl<T> Drop for ReceiveFuture<'_, T> {
    fn drop(&mut self) {
        self.receiving.leave(self.shared);
    }
}

impl<T> fmt::Debug for ReceiveFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiveFuture").finish_non_exhaustive()
    }
}

/// A message that is being sent; made by [`Sender::send_async`](super::Sender::send_async). If it is dropped before it was ready, so is the message.
#[must_use = "futures do nothing unless they are polled"]
pub struct SendFuture<'a, T> {
    shared: &'a Shared<T>,
    /// `None` once it was sent.
    message: Option<T>,
    registered: Option<Registered>,
}

impl<'a, T> SendFuture<'a, T> {
    pub(super) fn new(shared: &'a Shared<T>, message: T) -> Self {
        Self { shared, message: Some(message), registered: None }
    }
}

// The message is not pinned.
impl<T> Unpin for SendFuture<'_, T> {}

impl<T> Future for SendFuture<'_, T> {
    type Output = Result<(), SendError<T>>;

    /// # Panics
    ///
    /// If it is polled again after it was ready.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if this.registered.as_ref().is_some_and(|registered| !registered.is_woken(context.waker())) {
            return Poll::Pending;
        }
        this.registered.take().into_iter().for_each(Registered::finish);
        let message = this.message.take().expect("SendFuture: polled after it was ready");
        let message = match this.shared.offer(message) {
            Offer::Sent => return Poll::Ready(Ok(())),
            Offer::Closed(message) => return Poll::Ready(Err(SendError(message))),
            Offer::Full(message) => message,
        };
        let registered = Registered::begin(context.waker());
        let entry = registered.queue_entry(WANTS_NOTICE);
        let mut woken = Woken::none();
        let mut inner = this.shared.lock();
        let offered = inner.offer(message, &mut woken);
        if matches!(offered, Offer::Full(_)) {
            inner.senders.push_back_slot(entry);
        }
        this.shared.unlock(inner, woken);
        let result = match offered {
            Offer::Full(message) => {
                this.message = Some(message);
                this.registered = Some(registered);
                return Poll::Pending;
            }
            Offer::Sent => Ok(()),
            Offer::Closed(message) => Err(SendError(message)),
        };
        registered.unused();
        Poll::Ready(result)
    }
}

impl<T> Drop for SendFuture<'_, T> {
    fn drop(&mut self) {
        let Some(registered) = self.registered.take() else { return };
        if registered.withdraw() {
            self.shared.lock().senders.remove(registered.as_queue_entry());
            return registered.free();
        }
        registered.finish();
        let mut woken = Woken::none();
        let mut inner = self.shared.lock();
        inner.settle(&mut woken);
        self.shared.unlock(inner, woken);
    }
}

impl<T> fmt::Debug for SendFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendFuture").finish_non_exhaustive()
    }
}

//! A channel for one message.

use super::future::Receiving;
use super::{ReceiveError, Receiver, SendError, Sender, TryReceiveError, bounded};
use crate::sync::CancelToken;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// A channel for one message.
///
/// # Examples
///
/// ```
/// use ramie::sync::channel;
///
/// let (sender, receiver) = channel::oneshot();
/// let job = ramie::spawn(move || receiver.recv());
/// sender.send("done").unwrap();
/// assert_eq!(job.join().unwrap(), Ok("done"));
/// ```
pub fn oneshot<T>() -> (OneshotSender<T>, OneshotReceiver<T>) {
    let (sender, receiver) = bounded(1);
    (OneshotSender(sender), OneshotReceiver { receiver, receiving: Receiving::default() })
}

/// Sends the one message. If it is dropped instead, the receiver gets [`ReceiveError`].
#[derive(Debug)]
pub struct OneshotSender<T>(Sender<T>);

impl<T> OneshotSender<T> {
    /// Sends the message; never waits.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the message, if the receiver is gone.
    pub fn send(self, message: T) -> Result<(), SendError<T>> {
        self.0.try_send(message).map_err(|error| SendError(error.into_inner()))
    }

    /// Whether the receiver is gone.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// Receives the one message: by a wait, or as a future.
pub struct OneshotReceiver<T> {
    receiver: Receiver<T>,
    /// For polls.
    receiving: Receiving,
}

impl<T> OneshotReceiver<T> {
    /// Waits for the message.
    ///
    /// # Errors
    ///
    /// [`ReceiveError`] if the sender was dropped.
    ///
    /// # Panics
    ///
    /// With `FiberLimit` if it had to suspend the last fiber of this worker and no other can be made.
    ///
    /// # Suspends
    ///
    /// Inside a job, if the message is not there. Elsewhere the thread blocks.
    #[track_caller]
    pub fn recv(self) -> Result<T, ReceiveError> {
        self.receiver.recv()
    }

    /// The message, if it is there.
    ///
    /// # Errors
    ///
    /// [`TryReceiveError::Empty`], or [`TryReceiveError::Closed`] if the sender was dropped, or the message received before.
    pub fn try_recv(&mut self) -> Result<T, TryReceiveError> {
        self.receiver.try_recv()
    }

    /// As [`recv`](Self::recv), for at most `limit`.
    ///
    /// # Errors
    ///
    /// [`TryReceiveError::TimedOut`], or as [`try_recv`](Self::try_recv).
    ///
    /// # Panics
    ///
    /// As [`recv`](Self::recv).
    #[track_caller]
    pub fn recv_timeout(&mut self, limit: Duration) -> Result<T, TryReceiveError> {
        self.receiver.recv_timeout(limit)
    }

    /// As [`recv`](Self::recv), until a token is cancelled.
    ///
    /// # Errors
    ///
    /// [`TryReceiveError::Cancelled`], or as [`try_recv`](Self::try_recv).
    ///
    /// # Panics
    ///
    /// As [`recv`](Self::recv).
    #[track_caller]
    pub fn recv_cancellable(&mut self, token: &CancelToken) -> Result<T, TryReceiveError> {
        self.receiver.recv_cancellable(token)
    }
}

impl<T> Future for OneshotReceiver<T> {
    type Output = Result<T, ReceiveError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.receiving.poll(&this.receiver.shared, context.waker())
    }
}

// Nothing of a receiver is pinned.
impl<T> Unpin for OneshotReceiver<T> {}

impl<T> Drop for OneshotReceiver<T> {
    fn drop(&mut self) {
        self.receiving.leave(&self.receiver.shared);
    }
}

impl<T> fmt::Debug for OneshotReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneshotReceiver").field("closed", &self.receiver.is_closed()).finish()
    }
}

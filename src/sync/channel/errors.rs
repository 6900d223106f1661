//! What can go wrong with a channel.

use std::fmt;
use thiserror::Error;

/// All receivers are gone; the message is in here.
#[derive(Clone, Copy, PartialEq, Eq, Error)]
#[error("the message was not sent: all receivers of the channel are gone")]
pub struct SendError<T>(pub T);

impl<T> SendError<T> {
    /// The message.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SendError(..)")
    }
}

/// Why a message was not sent; it is in here.
#[derive(Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TrySendError<T> {
    /// All receivers are gone.
    #[error("the message was not sent: all receivers of the channel are gone")]
    Closed(T),
    /// There is no room: `try_send`.
    #[error("the message was not sent: the channel is full")]
    Full(T),
    /// There was no room in time: `send_timeout`.
    #[error("the message was not sent: the channel was full until the time was over")]
    TimedOut(T),
    /// The token was cancelled before there was room: `send_cancellable`.
    #[error("the message was not sent: the token was cancelled while the channel was full")]
    Cancelled(T),
}

impl<T> TrySendError<T> {
    /// The message.
    pub fn into_inner(self) -> T {
        match self {
            Self::Closed(message)
            | Self::Full(message)
            | Self::TimedOut(message)
            | Self::Cancelled(message) => message,
        }
    }

    /// Whether all receivers are gone.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_))
    }
}

impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed(_) => "Closed(..)",
            Self::Full(_) => "Full(..)",
            Self::TimedOut(_) => "TimedOut(..)",
            Self::Cancelled(_) => "Cancelled(..)",
        })
    }
}

/// There is no message, and all senders are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("nothing was received: the channel is empty, and all its senders are gone")]
pub struct ReceiveError;

/// Why no message was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TryReceiveError {
    /// There is none, and all senders are gone.
    #[error("nothing was received: the channel is empty, and all its senders are gone")]
    Closed,
    /// There is none: `try_recv`.
    #[error("nothing was received: the channel is empty")]
    Empty,
    /// There was none in time: `recv_timeout`.
    #[error("nothing was received before the time was over")]
    TimedOut,
    /// The token was cancelled before there was one: `recv_cancellable`.
    #[error("nothing was received before the token was cancelled")]
    Cancelled,
}

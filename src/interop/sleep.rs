//! Sleeping: a wait for the clock alone.

use crate::error::{Cancelled, fiber_limit};
use crate::fiber::WaitKind;
use crate::fiber::claim::Reason;
use crate::sched::wait::{self, Bounds, WaitFor};
use crate::sync::CancelToken;
use std::panic::Location;
use std::time::{Duration, Instant};

/// Suspends the calling job for at least `duration`; outside of jobs the thread.
///
/// One thread of the process keeps the time of all fibers, whatever their number. How much later a job goes on depends on the operating
/// system's clock, usually 50 to 100 us, and on when its worker's current job ends, waits, or passes a split.
///
/// For a duration of zero this is [`yield_now`](crate::yield_now).
///
/// # Panics
///
/// With `FiberLimit` if it had to suspend the last fiber of this worker and no other can be made. Also if the operating system gives no thread for the
/// clock.
///
/// # Suspends
///
/// Inside a job.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let begin = Instant::now();
/// ramie::scope(|s| {
///     for _ in 0..1000 {
///         s.spawn(|| ramie::sleep(Duration::from_millis(20)));
///     }
/// });
/// assert!(begin.elapsed() >= Duration::from_millis(20));
/// ```
#[track_caller]
pub fn sleep(duration: Duration) {
    if duration.is_zero() {
        return crate::yield_now();
    }
    sleep_within(Bounds::time(Some(duration)), Location::caller());
}

/// Suspends the calling job until `deadline`; outside of jobs the thread. As [`sleep`], if that is not over yet.
///
/// # Panics
///
/// As [`sleep`].
///
/// # Suspends
///
/// Inside a job.
#[track_caller]
pub fn sleep_until(deadline: Instant) {
    let left = deadline.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        sleep_within(Bounds::time(Some(left)), Location::caller());
    }
}

/// As [`sleep`], until a token is cancelled.
///
/// # Errors
///
/// [`Cancelled`] if the token was cancelled before the time was over.
///
/// # Panics
///
/// As [`sleep`].
///
/// # Suspends
///
/// Inside a job, unless the token is cancelled.
#[track_caller]
pub fn sleep_cancellable(duration: Duration, token: &CancelToken) -> Result<(), Cancelled> {
    token.check()?;
    if duration.is_zero() {
        return Ok(());
    }
    match sleep_within(Bounds { limit: Some(duration), token: Some(token) }, Location::caller()) {
        Reason::Cancelled => Err(Cancelled::new()),
        _ => Ok(()),
    }
}

fn sleep_within(bounds: Bounds<'_>, site: &'static Location<'static>) -> Reason {
    let what = WaitFor { kind: WaitKind::Sleep, object: 0, site };
    let mut reason = Reason::TimedOut;
    match wait::wait_bounded(what, bounds, |_, _| true, |ended| reason = ended) {
        Ok(()) => reason,
        Err(_) => fiber_limit("sleeping"),
    }
}

//! An event as a future.

use super::event::Event;
use crate::interop::poll_waiter::Registered;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Ready when an event lets it through; made by `IntoFuture` of `&Event`. If one that an [auto](Event::auto) event has let through is dropped before it was
/// polled, the next waiter goes through in its place.
#[must_use = "futures do nothing unless they are polled"]
pub struct EventFuture<'a> {
    event: &'a Event,
    registered: Option<Registered>,
}

impl Future for EventFuture<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if let Some(registered) = &this.registered {
            if !registered.is_woken(context.waker()) {
                return Poll::Pending;
            }
            this.registered.take().into_iter().for_each(Registered::finish);
            return Poll::Ready(());
        }
        if this.event.try_pass() {
            return Poll::Ready(());
        }
        let registered = Registered::begin(context.waker());
        let entry = registered.queue_entry(0);
        let word = this.event.word();
        let mut list = word.queue.lock();
        let waits = word.announce();
        if waits {
            list.push_back_slot(entry);
        }
        drop(list);
        if waits {
            this.registered = Some(registered);
            return Poll::Pending;
        }
        registered.unused();
        Poll::Ready(())
    }
}

impl Drop for EventFuture<'_> {
    fn drop(&mut self) {
        let Some(registered) = self.registered.take() else { return };
        let word = self.event.word();
        if registered.withdraw() {
            let mut list = word.queue.lock();
            list.remove(registered.as_queue_entry());
            word.note_left(&list);
            drop(list);
            registered.free();
        } else {
            registered.finish();
            if word.is_auto() {
                self.event.set();
            }
        }
    }
}

impl fmt::Debug for EventFuture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventFuture").field("event", self.event).finish()
    }
}

/// `(&event).await`: until it lets this through.
impl<'a> IntoFuture for &'a Event {
    type Output = ();
    type IntoFuture = EventFuture<'a>;

    fn into_future(self) -> EventFuture<'a> {
        EventFuture { event: self, registered: None }
    }
}

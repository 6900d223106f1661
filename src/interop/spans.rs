//! `tracing`: the spans that a job has entered are left when its fiber suspends, and entered again when it goes on.
//!
//! Subscribers keep a stack of entered spans for each thread. Everything on it belongs to the fiber that runs, because each fiber leaves its spans before
//! another one runs, and a job that runs inside of another's wait begins without; so they are found by asking the subscriber for the innermost one, until there is none.

use tracing::dispatcher;
use tracing::span::Id;

/// The spans that a suspended fiber has left.
pub(crate) struct LeftSpans {
    /// The innermost one first.
    ids: Vec<Id>,
}

/// More spans than anybody enters: a subscriber that does not leave what it is told to leave.
const SPANS_MAX: usize = 4096;

impl LeftSpans {
    /// Leaves all spans that this thread has entered.
    #[inline]
    pub(crate) fn leave() -> Self {
        let mut ids = Vec::new();
        if dispatcher::has_been_set() {
            dispatcher::get_default(|dispatch| {
                while let Some(id) = dispatch.current_span().id().filter(|_| ids.len() < SPANS_MAX) {
                    dispatch.exit(id);
                    ids.push(id.clone());
                }
            });
        }
        Self { ids }
    }

    /// Enters them again, on whatever thread.
    #[inline]
    pub(crate) fn enter_again(self) {
        if !self.ids.is_empty() {
            dispatcher::get_default(|dispatch| self.ids.iter().rev().for_each(|id| dispatch.enter(id)));
        }
    }
}

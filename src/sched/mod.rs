//! Scheduling: workers, queues, sleeping and waking. The protocol is in `README.md` beside this file.

pub(crate) mod deque;
pub(crate) mod inbox;
pub(crate) mod priority;
pub(crate) mod sleep;
pub(crate) mod spillover;

#[cfg(not(loom))]
pub(crate) mod background;
#[cfg(not(loom))]
pub(crate) mod current;
#[cfg(not(loom))]
pub(crate) mod find_work;
#[cfg(not(loom))]
pub(crate) mod guard;
#[cfg(not(loom))]
pub(crate) mod injector;
#[cfg(not(loom))]
pub(crate) mod queue;
#[cfg(not(loom))]
pub(crate) mod raise;
#[cfg(not(loom))]
pub(crate) mod relay;
#[cfg(not(loom))]
pub(crate) mod seeded;
#[cfg(not(loom))]
pub(crate) mod trim;
#[cfg(not(loom))]
pub(crate) mod visit;
#[cfg(not(loom))]
pub(crate) mod wait;
#[cfg(not(loom))]
pub(crate) mod wake;
#[cfg(not(loom))]
pub(crate) mod worker;

//! Jobs: a closure that runs once, in a block that never goes away.

pub(crate) mod state;

#[cfg(not(loom))]
pub(crate) mod bare;
#[cfg(not(loom))]
mod body;
#[cfg(not(loom))]
mod builder;
#[cfg(not(loom))]
mod handle;
#[cfg(not(loom))]
pub(crate) mod header;
#[cfg(not(loom))]
pub(crate) mod stack_job;
#[cfg(not(loom))]
pub(crate) mod storage;

#[cfg(not(loom))]
pub use builder::JobBuilder;
#[cfg(not(loom))]
pub use handle::{JobError, JobHandle};

#[cfg(not(loom))]
pub(crate) use body::{Extras, NewJob, create_with_extras, drop_guarded};
#[cfg(not(loom))]
pub(crate) use builder::{JobSpec, detach_plain, spawn_plain};
#[cfg(not(loom))]
pub(crate) use handle::{RawHandle, cancel_claimed};
#[cfg(not(loom))]
pub(crate) use header::{JobPtr, JobRef};
#[cfg(not(loom))]
pub(crate) use state::Owner;

//! Where fibers meet the rest of the world: so far, the clock.

pub(crate) mod timer;

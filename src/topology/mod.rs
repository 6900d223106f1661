//! The machine's CPUs, and which worker runs on which of them.

mod pinning;

pub use pinning::{CpuId, Pinning};
pub(crate) use pinning::{plan, ranges};

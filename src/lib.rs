#![doc = include_str!("../README.md")]
#![cfg_attr(loom, allow(dead_code, unused_imports, reason = "only the protocols are built for models"))]

#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "x86",
    target_arch = "aarch64",
    target_arch = "arm",
    target_arch = "riscv64",
    target_arch = "riscv32",
    target_arch = "powerpc64",
    target_arch = "loongarch64"
)))]
compile_error!("ramie switches stacks with corosensei, which does not support this architecture");
#[cfg(not(any(unix, windows)))]
compile_error!("ramie needs an operating system with threads and guard pages: Unix or Windows");
#[cfg(not(target_pointer_width = "64"))]
compile_error!("ramie packs pointers and counts into 64-bit words and is built for 64-bit targets only");

/// The examples of the guides are tests.
#[cfg(doctest)]
#[doc = include_str!("../docs/waiting.md")]
struct WaitingGuide;
#[cfg(doctest)]
#[doc = include_str!("../docs/debugging.md")]
struct DebuggingGuide;

mod counter;
mod fiber;
mod interop;
mod job;
mod memory;
mod primitives;
mod sched;
pub mod sync;
mod sys;

#[cfg(not(loom))]
mod batch;
#[cfg(not(loom))]
mod config;
#[cfg(not(loom))]
mod error;
#[cfg(not(loom))]
mod fiber_local;
#[cfg(not(loom))]
mod frame;
#[cfg(not(loom))]
mod free;
#[cfg(not(loom))]
mod join;
#[cfg(not(loom))]
mod parallel;
#[cfg(not(loom))]
mod scope;
#[cfg(not(loom))]
mod system;
#[cfg(not(loom))]
mod topology;
pub mod trace;
#[cfg(not(loom))]
mod worker_local;

/// The crate by whose [`Allocator`](allocator_api2::alloc::Allocator) collections take memory from a [`Frame`]: version
/// 0.2, which `hashbrown` 0.16 and `bumpalo` 3 speak. It has a vector and a box of its own.
#[cfg(not(loom))]
pub use allocator_api2;

#[cfg(all(feature = "blocking", not(any(loom, shuttle))))]
pub use crate::interop::blocking::blocking;
#[cfg(all(unix, not(any(loom, shuttle))))]
pub use crate::trace::quit_signal::dump_on_sigquit;
#[cfg(not(loom))]
pub use crate::{
    batch::{BatchHandle, spawn_batch},
    config::Builder,
    counter::{AfterCounters, Counter, CounterGuard},
    error::{BuildError, Cancelled, PanicKind, PanicReport, ShutdownError, TimedOut},
    fiber_local::{FiberLocal, FiberLocalError},
    frame::{
        Frame, FrameArenas, FrameError, FramePipeline, FrameRun, FrameStats, PipelineReport, Stage,
        StageReport,
    },
    free::{
        broadcast, current_priority, current_worker, in_job, spawn, spawn_after, yield_if_urgent, yield_now,
    },
    interop::future::{CounterFuture, PollWithin, block_on, poll_within, spawn_future},
    interop::sleep::{sleep, sleep_cancellable, sleep_until},
    job::{JobBuilder, JobError, JobHandle},
    join::join,
    parallel::{
        Identity, IntoPar, Par, ParChunks, ParChunksMut, ParRange, ParSlice, ParSliceMut, ParSource,
        Partition, par, par_chunks, par_chunks_mut,
    },
    sched::priority::Priority,
    scope::{Scope, ScopedHandle, ScopedJobBuilder, scope},
    sys::StackGuards,
    system::{Drain, JobSystem, Report},
    topology::{
        CacheDomain, Core, CoreClass, Cpu, CpuId, Distance, Node, Package, Pinning, Topology, TopologyError,
        TopologySource, Victims,
    },
    trace::{
        backtrace::StackFrame,
        deadlock::WaitEdge,
        dump::{FiberActivity, FiberDump, FiberInfo, dump_all},
        stall::{StallKind, StallReport},
        stats::{
            BackgroundFallback, BackgroundStats, StackStats, Stats, StealsByDistance, SuspensionsByReason,
        },
    },
    worker_local::WorkerLocal,
};

//! marl: fibers on worker threads, in `native/marl.cpp`.

use super::{Kind, Rival};
use crate::native::{Native, Origin, Recipe, cells};

pub(crate) static RIVAL: Rival = Rival {
    name: "marl",
    about: "C++: tasks that are fibers on worker threads",
    kind: Kind::System,
    package: None,
    workers_max: None,
    cells: cells![NATIVE:
        fib, quicksort, matmul, flat_spawn, jobs_200ns, never_waits, switch, event_ping_pong,
        mutex_uncontended, mutex_contended, timers, fanout, chain, tree,
        batches, imbalanced, par_for, mandelbrot, sand, outside, wake_storm, frame, memory_fibers,
        start_stop, idle,
    ],
};

pub(crate) static NATIVE: Native = Native {
    name: RIVAL.name,
    origin: Origin::Folder { folder: "marl", url: "github.com/google/marl" },
    recipe: Recipe::Cpp { includes: &["include"], sources: SOURCES, flags: &[], link: &[] },
};

/// Those for other processors are empty when they are compiled.
const SOURCES: &[&str] = &[
    "src/debug.cpp",
    "src/memory.cpp",
    "src/scheduler.cpp",
    "src/thread.cpp",
    "src/trace.cpp",
    "src/osfiber_aarch64.c",
    "src/osfiber_arm.c",
    "src/osfiber_loongarch64.c",
    "src/osfiber_mips64.c",
    "src/osfiber_ppc64.c",
    "src/osfiber_rv64.c",
    "src/osfiber_x64.c",
    "src/osfiber_x86.c",
    "src/osfiber_asm_aarch64.S",
    "src/osfiber_asm_arm.S",
    "src/osfiber_asm_loongarch64.S",
    "src/osfiber_asm_mips64.S",
    "src/osfiber_asm_ppc64.S",
    "src/osfiber_asm_rv64.S",
    "src/osfiber_asm_x64.S",
    "src/osfiber_asm_x86.S",
];

//! FiberTaskingLib: tasks on a pool of fibers, in `native/fibertaskinglib.cpp`.

use super::{Kind, Rival};
use crate::native::{Native, Origin, Recipe, cells};

pub(crate) static RIVAL: Rival = Rival {
    name: "fibertaskinglib",
    about: "C++: tasks on a pool of fibers, after the same talk as ramie",
    kind: Kind::System,
    package: None,
    workers_max: None,
    cells: cells![NATIVE:
        fib, integrate, nqueens, uts, quicksort, matmul, skynet, flat_spawn, flat_batch, jobs_200ns,
        never_waits, switch, event_ping_pong,
        mutex_ping_pong, mutex_uncontended, mutex_contended, fanout, chain, tree, batches, imbalanced, par_for, mandelbrot, sand,
        outside, wake_storm, frame, memory_fibers, start_stop, idle,
    ],
};

pub(crate) static NATIVE: Native = Native {
    name: RIVAL.name,
    origin: Origin::Folder { folder: "FiberTaskingLib", url: "github.com/RichieSams/FiberTaskingLib" },
    recipe: Recipe::Cpp {
        includes: &["include", "third_party/boost_context/include"],
        sources: SOURCES,
        flags: &[],
        link: &[],
    },
};

const SOURCES: &[&str] = &[
    "source/alloc.cpp",
    "source/fiber.cpp",
    "source/fibtex.cpp",
    "source/task_scheduler.cpp",
    "source/thread_abstraction.cpp",
    "source/wait_group.cpp",
    SWITCHES[0],
    SWITCHES[1],
];

/// What switches stacks on this processor.
const SWITCHES: [&str; 2] = if cfg!(target_arch = "aarch64") {
    [
        "third_party/boost_context/asm/make_arm64_aapcs_elf_gas.S",
        "third_party/boost_context/asm/jump_arm64_aapcs_elf_gas.S",
    ]
} else {
    [
        "third_party/boost_context/asm/make_x86_64_sysv_elf_gas.S",
        "third_party/boost_context/asm/jump_x86_64_sysv_elf_gas.S",
    ]
};

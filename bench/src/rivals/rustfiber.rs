//! RustFiber: jobs on fibers with counters, in `native/rustfiber/`.

use super::{Kind, Rival};
use crate::native::{Native, Origin, Recipe, cells};

pub(crate) static RIVAL: Rival = Rival {
    name: "rustfiber",
    about: "Rust: jobs on fibers, with counters",
    kind: Kind::System,
    package: None,
    workers_max: None,
    cells: cells![NATIVE:
        fib, flat_spawn, flat_batch, jobs_200ns, never_waits, fanout, chain, tree, batches, imbalanced,
        par_for, mandelbrot, sand, outside, wake_storm, frame, memory_fibers, start_stop, idle,
    ],
};

pub(crate) static NATIVE: Native = Native {
    name: RIVAL.name,
    origin: Origin::Folder { folder: "RustFiber", url: "github.com/josephkirk/RustFiber" },
    recipe: Recipe::Cargo { package: "rustfiber" },
};

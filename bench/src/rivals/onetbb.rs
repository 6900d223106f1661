//! oneTBB: task groups, parallel loops and arenas, in `native/onetbb.cpp`.

use super::{Kind, Rival};
use crate::native::{Native, Origin, Recipe, cells};

pub(crate) static RIVAL: Rival = Rival {
    name: "onetbb",
    about: "C++: task groups and parallel loops, work stealing without suspension",
    kind: Kind::System,
    package: None,
    workers_max: None,
    cells: cells![NATIVE:
        fib, integrate, nqueens, uts, quicksort, matmul, skynet, flat_spawn, flat_batch, jobs_200ns,
        never_waits, chain, tree, batches, imbalanced, par_for, mandelbrot, sand, outside, wake_storm,
        frame, start_stop, idle,
    ],
};

pub(crate) static NATIVE: Native = Native {
    name: RIVAL.name,
    origin: Origin::Package { header: "oneapi/tbb.h", install: "libtbb-dev" },
    recipe: Recipe::Cpp { includes: &[], sources: &[], flags: &[], link: &["-ltbb"] },
};

//! OpenMP as the C++ compiler has it: tasks and parallel loops, in `native/openmp.cpp`.

use super::{Kind, Rival};
use crate::native::{Native, Origin, Recipe, cells};

pub(crate) static RIVAL: Rival = Rival {
    name: "openmp",
    about: "C++: the compiler's tasks and parallel loops",
    kind: Kind::System,
    package: None,
    workers_max: None,
    cells: cells![NATIVE:
        fib, integrate, nqueens, uts, quicksort, matmul, skynet, flat_spawn, flat_batch, jobs_200ns,
        chain, tree, batches, imbalanced, par_for, mandelbrot, sand, frame, start_stop, idle,
    ],
};

pub(crate) static NATIVE: Native = Native {
    name: RIVAL.name,
    origin: Origin::Package { header: "omp.h", install: "libgomp1" },
    recipe: Recipe::Cpp { includes: &[], sources: &[], flags: &["-fopenmp"], link: &[] },
};

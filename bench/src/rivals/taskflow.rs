//! Taskflow: task graphs and asynchronous tasks, in `native/taskflow.cpp`.

use super::{Kind, Rival};
use crate::native::{Native, Origin, Recipe, cells};

pub(crate) static RIVAL: Rival = Rival {
    name: "taskflow",
    about: "C++: task graphs and asynchronous tasks, work stealing without suspension",
    kind: Kind::System,
    package: None,
    workers_max: None,
    cells: cells![NATIVE:
        fib, integrate, nqueens, uts, quicksort, matmul, skynet, flat_spawn, jobs_200ns, never_waits,
        chain, tree, batches, imbalanced, par_for, mandelbrot, sand, outside, wake_storm, frame,
        start_stop, idle,
    ],
};

pub(crate) static NATIVE: Native = Native {
    name: RIVAL.name,
    origin: Origin::Folder { folder: "taskflow", url: "github.com/taskflow/taskflow" },
    recipe: Recipe::Cpp { includes: &[""], sources: &[], flags: &[], link: &[] },
};

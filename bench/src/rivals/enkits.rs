//! enkiTS: task sets for games, in `native/enkits.cpp`.

use super::{Kind, Rival};
use crate::native::{Native, Origin, Recipe, cells};

pub(crate) static RIVAL: Rival = Rival {
    name: "enkits",
    about: "C++: task sets with ranges, without suspension",
    kind: Kind::System,
    package: None,
    workers_max: None,
    cells: cells![NATIVE:
        fib, integrate, nqueens, uts, quicksort, matmul, skynet, flat_spawn, never_waits, chain, tree,
        imbalanced, par_for, mandelbrot, sand, outside, wake_storm, frame, start_stop, idle,
    ],
};

pub(crate) static NATIVE: Native = Native {
    name: RIVAL.name,
    origin: Origin::Folder { folder: "enkiTS", url: "github.com/dougbinks/enkiTS" },
    recipe: Recipe::Cpp { includes: &["src"], sources: &["src/TaskScheduler.cpp"], flags: &[], link: &[] },
};
